"""Derive from the config the options for loading an engine, and the config's keys that the target's runtime ignores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hil.runtimes import RUNTIMES, runtime_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from hil.config.spec import ModelSpec, TargetSpec


def load_options(target: TargetSpec, model: ModelSpec) -> dict[str, Any]:
    """Return the options of ``AgentClient.load`` for this target's runtime."""
    if runtime_record(target.runtime).uses_gpu:
        run = model.run
        return {"gpu": target.gpu, "cuda": target.cuda, "streams": run.streams, "cuda_graph": run.cuda_graph}
    return {} if target.threads is None else {"threads": target.threads}


def streams(target: TargetSpec, model: ModelSpec) -> int:
    """Return how many inferences may be in flight: ``run.streams``, or 1 if the runtime has no streams."""
    return model.run.streams if runtime_record(target.runtime).has_streams else 1


def ignored_keys(target: TargetSpec, model: ModelSpec) -> list[str]:
    """Return the keys, such as ``run.streams``, that ``hil.toml`` sets for the model but the runtime ignores."""
    own = runtime_record(target.runtime).model_keys
    ignored: dict[str, None] = {}
    for record in RUNTIMES.values():
        for table, keys in record.model_keys.items():
            settings = getattr(model, table)
            others = (key for key in keys if key not in own.get(table, ()))
            changed = (key for key in others if getattr(settings, key) != type(settings).model_fields[key].default)
            ignored |= dict.fromkeys(f"{table}.{key}" for key in changed)
    return list(ignored)


def report_ignored_keys(target: TargetSpec, model: ModelSpec, name: str, progress: Callable[[str], None]) -> None:
    """Print the ignored keys, if there are any."""
    keys = ignored_keys(target, model)
    if keys:
        progress(f"{name}: {', '.join(keys)} have no effect on {target.runtime} and are ignored here")
