"""Families of models, recognized from the shapes of a trial run: the first family of a table that matches.

A family proposes task, metric, layout and exceptions from INT8, as comments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hil.proposals.graph_facts import MAPPED, NORMS, SCORES, VALUES, last_weighted, of_operators
from hil.proposals.layouts import OF_CELLS, Shape, are_heads, is_pyramid, layout_of_shapes
from hil.proposals.observed import EDGES
from hil.proposals.roles import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import onnx

    from hil.proposals.observed import Observed

LINE_HEIGHT = 64
"""The greatest height of an image of one line of text, in pixels."""

STRIDES = (2, 4, 8, 16)
"""Pixels of width for each step of a text recognizer's output."""


@dataclass(frozen=True)
class Family:
    """A family: its name, its test, and what it proposes.

    ``matches`` returns the layout of a detector, or any other text if the model belongs to the family; empty if it does
    not. ``keys`` are the keys of the model's table. ``exceptions`` returns the names of the nodes to keep in float.
    ``remark`` continues a sentence that ends with the name. ``kind`` is the kind of answer of the outputs whose number
    of axes is in ``axes`` (empty: all outputs).
    """

    name: str
    matches: Callable[[Observed], str]
    keys: tuple[tuple[str, str], ...] = ()
    exceptions: Callable[[onnx.GraphProto], tuple[str, ...]] = lambda _: ()
    remark: str = ""
    kind: str = ""
    axes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Recognized:
    """The family of a model, the detector's layout if it is one, and the nodes to keep in float."""

    family: Family
    layout: str
    keep_in_float: tuple[str, ...]


def recognized(observed: Observed, graph: onnx.GraphProto) -> Recognized | None:
    """Return the first family of ``FAMILIES`` that the model belongs to, or ``None``."""
    for family in FAMILIES:
        match = family.matches(observed)
        if match:
            layout = match if family.name == "detector" else ""
            return Recognized(family, layout, family.exceptions(graph))
    return None


def kinds_of(observed: Observed, family: Recognized | None) -> dict[str, str]:
    """Return, by output name, the kind of answer that the family states for the output.

    Outputs without a kind are left out. If images come in batches, so are outputs without the samples along their
    first axis, which every kind needs.
    """
    if family is None:
        return {}
    kind, axes = family.family.kind, family.family.axes
    batches = {observed.inputs[one][:-3] for one, role in observed.roles.items() if role is Role.IMAGE} - {()}
    return {
        name: kind
        for name, shape in observed.outputs.items()
        if kind and (not axes or len(shape) in axes) and (not batches or shape[:1] in batches)
    }


def _recurrent(observed: Observed) -> str:
    return "state" if Role.STATE in observed.roles.values() else ""


def _tokens(observed: Observed) -> str:
    return "ids" if Role.TOKENS in observed.roles.values() else ""


def _text_line(observed: Observed) -> str:
    """Return ``steps`` if the model reads one line of text (an output is [samples, steps, characters]); else empty."""
    image = observed.image
    if image is None or image[0] > LINE_HEIGHT or image[1] <= image[0]:
        return ""
    steps = {size for shape in observed.outputs.values() if len(shape) == 3 for size in shape[:2]}
    return "steps" if any(size > 1 and _is_near(image[1] / size) for size in steps) else ""


def _is_near(pixels: float) -> bool:
    return any(abs(pixels - stride) <= stride / 16 for stride in STRIDES)


def layout_of(observed: Observed) -> str:
    """Return the ``layout`` of ``[models.NAME.detection]`` that the outputs have; empty if they are not boxes."""
    if observed.image is None:
        return ""
    return layout_of_shapes(observed.image, tuple(observed.outputs.values()))


def _with_boxes(observed: Observed) -> str:
    layout = layout_of(observed)
    return "" if observed.has_raw_boxes and layout in OF_CELLS else layout


def _raw_boxes(observed: Observed) -> str:
    raw = observed.has_raw_boxes and layout_of(observed) in OF_CELLS
    heads = observed.image is not None and are_heads(observed.image, tuple(observed.outputs.values()))
    return "cells" if raw or heads else ""


def _apart(observed: Observed) -> str:
    """Return ``apart`` if there are boxes [..., 4], and two outputs with a number for each box; else empty."""
    shapes = list(observed.outputs.values())
    boxes = [shape[:-1] for shape in shapes if len(shape) in {2, 3} and shape[-1] == len("xyxy")]
    return "apart" if observed.image and len(boxes) == 1 and shapes.count(boxes[0]) > 1 else ""


def _pyramid(observed: Observed) -> str:
    found = observed.image is not None and is_pyramid(observed.image, tuple(observed.outputs.values()))
    return "levels" if found else ""


def _map(observed: Observed) -> Shape | None:
    """Return the shape of the outputs that are maps of the image; ``None`` if there is no map, or if shapes differ."""
    shapes = [
        (*shape[:1], 1, *shape[1:]) if len(shape) == 3 and observed.ends.get(name) == "ArgMax" else shape
        for name, shape in observed.outputs.items()
    ]
    maps = {shape for shape in shapes if len(shape) == 4 and shape[2] > 1 and shape[3] > 1}
    # Maps of several sizes are the heads of a detector.
    if observed.image is None or len(maps) != 1:
        return None
    (found,) = maps
    return found if observed.image[0] % found[2] == 0 else None


def _dense(observed: Observed) -> str:
    found = _map(observed)
    if found is None:
        return ""
    # Channels of any value are depth, flow or heat maps: as classes, half of every value would be the same answer.
    return "classes" if observed.class_maps or 1 < found[1] == observed.label_count else ""


def _values(observed: Observed) -> str:
    found = _map(observed)
    # One channel of scores is the mask of one class, depth or heat: the file does not show which.
    one = found is not None and found[1] == 1 and not _ends_in(observed, SCORES)
    return "values" if found and (one or _ends_in(observed, VALUES | MAPPED)) else ""


def _classifier(observed: Observed) -> str:
    return "classes" if _is_vector(observed) and not _ends_in(observed, VALUES | NORMS) else ""


def _embedding(observed: Observed) -> str:
    return "vector" if _is_vector(observed) and _ends_in(observed, NORMS) else ""


def _is_vector(observed: Observed) -> bool:
    shapes = list(observed.outputs.values())
    return observed.image is not None and len(shapes) == 1 and len(shapes[0]) == 2 and shapes[0][1] > 1


def _ends_in(observed: Observed, operators: Collection[str]) -> bool:
    return any(end in operators for end in observed.ends.values())


def _audio(observed: Observed) -> str:
    return "samples" if Role.AUDIO in observed.roles.values() else ""


def _recurrent_layers(graph: onnx.GraphProto) -> tuple[str, ...]:
    return of_operators(graph, {"LSTM", "GRU", "RNN"})


def _graph(observed: Observed) -> str:
    return "edges" if any(EDGES.search(name) for name in observed.roles) else ""


FAMILIES = (
    Family(
        "graph network",
        _graph,
        exceptions=last_weighted,
        remark=", whose inputs are the nodes and edges of one graph: random edges may lead to nodes that do not exist",
    ),
    Family(
        "recurrent model",
        _recurrent,
        exceptions=_recurrent_layers,
        remark=", of which one step is judged at a time",
    ),
    Family(
        "token model",
        _tokens,
        keys=(("task", "classification"),),
        exceptions=lambda graph: of_operators(graph, {"Softmax", "LayerNormalization"}) or last_weighted(graph),
        remark=', or of one that embeds texts (task "embedding")',
    ),
    Family(
        "text recognizer",
        _text_line,
        exceptions=last_weighted,
        remark=", which needs a score of your own",
        kind="ctc",
        axes=(3,),
    ),
    Family(
        "detector",
        _with_boxes,
        keys=(("task", "detection"), ("metric", "map50")),
        exceptions=last_weighted,
        kind="detection",
    ),
    Family(
        "detector without decoding",
        _raw_boxes,
        exceptions=last_weighted,
        remark=(
            ": its boxes are the values of a convolution, in cells of a grid, which no layout reads. For the task and "
            'kind "detection", write a decode of your own in [models.NAME.detection]'
        ),
    ),
    Family(
        "detector of separate outputs",
        _apart,
        exceptions=last_weighted,
        remark=(
            ": no layout reads boxes, scores and classes without a count. For the task and kind "
            '"detection", write a decode of your own in [models.NAME.detection]'
        ),
    ),
    Family(
        "model of several resolutions",
        _pyramid,
        exceptions=last_weighted,
        remark=(
            ". The file does not show whether the outputs are a detector's, whose boxes are not decoded (for the task "
            'and kind "detection", write a decode of your own in [models.NAME.detection]), or features or maps'
        ),
    ),
    Family(
        "segmentation model",
        _dense,
        keys=(("task", "segmentation"),),
        exceptions=last_weighted,
        kind="segmentation",
        axes=(3, 4),
    ),
    Family(
        "model of a map of values",
        _values,
        keys=(("task", "regression"),),
        exceptions=last_weighted,
        remark=', such as depth, or of the scores of one class (kind "segmentation")',
        kind="regression",
        axes=(4,),
    ),
    Family(
        "model of maps",
        lambda observed: "maps" if _map(observed) else "",
        exceptions=last_weighted,
        remark=(
            ". The file does not show whether the channels are classes or the mask of one (task and kind "
            '"segmentation") or values such as depth, flow or heat (task and kind "regression")'
        ),
    ),
    Family(
        "model that embeds images",
        _embedding,
        keys=(("task", "embedding"),),
        exceptions=last_weighted,
        kind="embedding",
    ),
    Family(
        "classifier",
        _classifier,
        keys=(("task", "classification"), ("metric", "top1")),
        exceptions=last_weighted,
        remark=', or of one that embeds images (task "embedding")',
        kind="classification",
    ),
    Family("model of audio or other signals", _audio, exceptions=last_weighted),
)
"""All families; the more specific ones come first."""
