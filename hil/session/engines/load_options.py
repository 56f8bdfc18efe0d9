"""How an engine is loaded and run on a target, and what of the config its runtime has no such thing for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hil.runtimes import RUNTIMES, runtime_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from hil.config.spec import ModelSpec, TargetSpec


def load_options(target: TargetSpec, model: ModelSpec) -> dict[str, Any]:
    """The options of ``AgentClient.load`` for this target's runtime."""
    if runtime_record(target.runtime).uses_gpu:
        run = model.run
        return {"gpu": target.gpu, "cuda": target.cuda, "streams": run.streams, "cuda_graph": run.cuda_graph}
    return {} if target.threads is None else {"threads": target.threads}


def streams(target: TargetSpec, model: ModelSpec) -> int:
    """How many inferences may be in flight there: one where the runtime has no streams, whatever the config says."""
    return model.run.streams if runtime_record(target.runtime).has_streams else 1


def left_out(target: TargetSpec, model: ModelSpec) -> list[str]:
    """The keys of ``[models.NAME.build]`` and ``.run`` that were written and this runtime cannot carry out."""
    own = runtime_record(target.runtime).model_keys
    asked: dict[str, None] = {}
    for record in RUNTIMES.values():
        for table, keys in record.model_keys.items():
            given = getattr(model, table)
            others = (key for key in keys if key not in own.get(table, ()))
            changed = (key for key in others if getattr(given, key) != type(given).model_fields[key].default)
            asked |= dict.fromkeys(f"{table}.{key}" for key in changed)
    return list(asked)


def tell(target: TargetSpec, model: ModelSpec, name: str, progress: Callable[[str], None]) -> None:
    """Says so once: one hil.toml serves CPU and board, and each measurement's method tells what was done."""
    asked = left_out(target, model)
    if asked:
        progress(f"{name}: {', '.join(asked)} mean nothing to {target.runtime} and are left out here")
