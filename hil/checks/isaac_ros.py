"""``contract.isaac_ros``: do the parameters of the Isaac ROS node that will load this engine match the engine?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hil.checks.verdicts import failed, judged
from hil.results import Judgement, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hil.onnx_files.signature import Signature


@dataclass(frozen=True)
class NodeParameters:
    """The parameters of a node, ``None`` where not given. ``source`` names the file and the node."""

    source: str
    engine_file_path: str | None
    input_tensor_names: tuple[str, ...] | None
    output_tensor_names: tuple[str, ...] | None
    input_binding_names: tuple[str, ...] | None
    output_binding_names: tuple[str, ...] | None
    inference_fps: float | None
    max_batch_size: int | None


def isaac_ros(node: NodeParameters | None, engine: Signature, batch: int) -> Judgement:
    """Judge ``contract.isaac_ros``: do the names, largest batch and path in a node's parameters match the engine?

    ``batch`` is the number of samples per inference with which the engine was judged. Every difference fails, and so
    does a missing parameter file.
    """
    if node is None:
        return failed("no parameter file of an Isaac ROS node is named: write isaac_ros = 'params.yaml'")
    wrong = [*_names(node, engine), *_batch(node, engine, batch), *_path(node)]
    details: dict[str, Any] = {**vars(node), "differences": wrong}
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        return failed(f"{node.source}: {wrong[0]}{more}", details)
    bindings = len(node.input_binding_names or ()) + len(node.output_binding_names or ())
    return judged(Verdict.PASSED, f"{node.source}: its {bindings} bindings match the engine's", details=details)


def _names(node: NodeParameters, engine: Signature) -> Iterator[str]:
    sides = (
        ("input", node.input_binding_names, node.input_tensor_names, [one.name for one in engine.inputs]),
        ("output", node.output_binding_names, node.output_tensor_names, [one.name for one in engine.outputs]),
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
            yield f"{side}_binding_names has {name!r}, but the engine's {side}s are {', '.join(there)}"
    for name in there:
        if name not in bindings:
            yield f"{side}_binding_names lacks the engine's {side} {name!r}"


def _batch(node: NodeParameters, engine: Signature, batch: int) -> Iterator[str]:
    """Yield an error if the node's largest batch is not ``batch``, and for each engine input whose batch is smaller."""
    largest = node.max_batch_size
    if largest is None:
        return
    if largest != batch:
        yield f"max_batch_size is {largest}, but the engine was judged with batch {batch}: make them equal"
    for spec in engine.inputs:
        size = spec.shape[0] if spec.shape else None
        if isinstance(size, int) and size > 0 and size < largest:
            yield f"max_batch_size is {largest}, but input {spec.name!r} of the engine has a batch of {size}"


def _path(node: NodeParameters) -> Iterator[str]:
    path = node.engine_file_path
    if path is None:
        yield "engine_file_path is not given"
    elif not path.startswith("/"):
        yield f"engine_file_path {path!r} is not absolute: it depends on the directory that the node is started in"
