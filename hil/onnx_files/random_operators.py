"""Nodes that draw random numbers: two runs of a model with them differ, so no engine can be compared with the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hil.errors import Unsupported
from hil.onnx_files.operators import DOMAINS, with_inner
from hil.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import onnx

RANDOM = frozenset(
    {
        "Bernoulli",
        "Dropout",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Sampling",
    }
)
"""Operators that draw random numbers; ``Dropout`` does so only in training mode."""

TRAINING = 2
"""Number of the input of ``Dropout`` that sets the training mode."""

NAMED = 3

REPEATABLE = "export the model for inference (model.eval() in PyTorch), or with the random values as an input"


def random_nodes(model: onnx.ModelProto) -> tuple[str, ...]:
    """Return, as text, each node that may draw random numbers: in the graph, its subgraphs and its functions."""
    nodes = list(with_inner([*model.graph.node, *(node for one in model.functions for node in one.node)]))
    off = {one.name for one in model.graph.initializer if _is_false(one)} | {
        name
        for node in nodes
        if node.op_type == "Constant" and any(_is_false(one.t) for one in node.attribute if one.name == "value")
        for name in node.output
    }
    found = (node for node in nodes if node.op_type in RANDOM and node.domain in DOMAINS)
    return tuple(_text(node) for node in found if node.op_type != "Dropout" or _trains(node, off))


def _trains(node: onnx.NodeProto, off: set[str]) -> bool:
    mode = node.input[TRAINING] if len(node.input) > TRAINING else ""
    return bool(mode) and mode not in off


def _is_false(tensor: onnx.TensorProto) -> bool:
    from onnx import TensorProto

    return tensor.data_type == TensorProto.BOOL and not any(tensor.raw_data) and not any(tensor.int32_data)


def _text(node: onnx.NodeProto) -> str:
    kind = f"{node.op_type} in training mode" if node.op_type == "Dropout" else node.op_type
    name = repr(node.name) if node.name else f"that makes {next(iter(node.output), '')!r}"
    return clean(f"node {name} ({kind})")


def refuse_random(nodes: Sequence[str], names: Sequence[str], runs: Iterable[Callable[[], Sequence[Any]]]) -> None:
    """Raise ``Unsupported`` if one of ``runs`` returns other outputs ``names`` when it is called again.

    ``nodes`` are those of ``random_nodes``. Both calls must use the same session: if the file has a seed, each new
    session draws the same numbers again.
    """
    for run in runs:
        odd = output_that_differs(run, names)
        if odd:
            raise Unsupported(
                f"{drawn_by(nodes)}, so that output {odd!r} differs between two runs of the reference on the same "
                f"input, and no engine can be compared with it: {REPEATABLE}"
            )


def output_that_differs(run: Callable[[], Sequence[Any]], names: Sequence[str]) -> str:
    """Return the first of the outputs ``names`` that ``run`` gives another value in a second call; empty if none."""
    first, again = run(), run()
    return next((name for name, one, other in zip(names, first, again, strict=True) if not _same(one, other)), "")


def drawn_by(nodes: Sequence[str]) -> str:
    """Return a clause for a message: ``nodes``, those of ``random_nodes``, draw random numbers."""
    more = f" and {len(nodes) - NAMED} more" if len(nodes) > NAMED else ""
    return f"{', '.join(nodes[:NAMED])}{more} {'draws' if len(nodes) == 1 else 'draw'} random numbers"


def _same(one: Any, other: Any) -> bool:
    if not hasattr(one, "tobytes"):
        return bool(one == other)
    return bool(one.shape == other.shape and one.tobytes() == other.tobytes())
