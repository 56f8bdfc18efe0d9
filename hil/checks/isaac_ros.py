"""``contract.isaac_ros``: would the Isaac ROS node that is to load this engine find what it asks for?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hil.checks.verdicts import failed, judged
from hil.results import Judgement, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hil.onnx_files.signature import Signature


@dataclass(frozen=True)
class Asked:
    """What a node's parameters say; ``None`` is what they do not. ``source`` names file and node."""

    source: str
    engine_file_path: str | None
    input_tensor_names: tuple[str, ...] | None
    output_tensor_names: tuple[str, ...] | None
    input_binding_names: tuple[str, ...] | None
    output_binding_names: tuple[str, ...] | None
    inference_fps: float | None
    max_batch_size: int | None


def isaac_ros(asked: Asked | None, engine: Signature, batch: int) -> Judgement:
    """Names, batch and path of the node against the engine, which was judged with ``batch`` samples at once.

    A binding that the node does not name, or names and the engine lacks, fails: the node does not start then.
    """
    if asked is None:
        return failed("no parameter file of an Isaac ROS node is named: write isaac_ros = 'params.yaml'")
    wrong = [*_names(asked, engine), *_batch(asked, engine, batch), *_path(asked)]
    details: dict[str, Any] = {**vars(asked), "differences": wrong}
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        return failed(f"{asked.source}: {wrong[0]}{more}", details)
    bindings = len(asked.input_binding_names or ()) + len(asked.output_binding_names or ())
    return judged(Verdict.PASSED, f"{asked.source}: its {bindings} bindings are the engine's", details=details)


def _names(asked: Asked, engine: Signature) -> Iterator[str]:
    sides = (
        ("input", asked.input_binding_names, asked.input_tensor_names, [one.name for one in engine.inputs]),
        ("output", asked.output_binding_names, asked.output_tensor_names, [one.name for one in engine.outputs]),
    )
    for side, bindings, tensors, there in sides:
        if bindings is None:
            yield f"{side}_binding_names is not given; the engine has {', '.join(there)}"
            continue
        yield from _compared(side, bindings, there)
        if tensors is None:
            yield f"{side}_tensor_names is not given"
        elif len(tensors) != len(bindings):
            yield f"{side}_tensor_names has {len(tensors)} names, {side}_binding_names {len(bindings)}"
        elif len(set(tensors)) != len(tensors):
            yield f"{side}_tensor_names has a name twice"


def _compared(side: str, bindings: Sequence[str], there: Sequence[str]) -> Iterator[str]:
    if len(set(bindings)) != len(bindings):
        yield f"{side}_binding_names has a name twice"
    for name in bindings:
        if name not in there:
            yield f"{side}_binding_names has {name!r}, and the engine's {side}s are {', '.join(there)}"
    for name in there:
        if name not in bindings:
            yield f"{side}_binding_names lacks the engine's {side} {name!r}"


def _batch(asked: Asked, engine: Signature, batch: int) -> Iterator[str]:
    """The node may run as many as it says at once: that is what has to be judged."""
    wanted = asked.max_batch_size
    if wanted is None:
        return
    if wanted != batch:
        yield f"max_batch_size is {wanted}, and the engine was judged with batch {batch}: let them be the same"
    for spec in engine.inputs:
        size = spec.shape[0] if spec.shape else None
        if isinstance(size, int) and size > 0 and size < wanted:
            yield f"max_batch_size is {wanted}, and input {spec.name!r} of the engine takes {size}"


def _path(asked: Asked) -> Iterator[str]:
    path = asked.engine_file_path
    if path is None:
        yield "engine_file_path is not given"
    elif not path.startswith("/"):
        yield f"engine_file_path {path!r} is not absolute: where it leads depends on where the node is started"
