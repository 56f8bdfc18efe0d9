"""Damage to a model's inputs and outputs, by nodes within its graph. ``None``: the model has nothing of that kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.accuracy import graphs
from benchmarks.accuracy.subjects import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import onnx
    from numpy.typing import NDArray

    from benchmarks.accuracy.case import Case

    Model = onnx.ModelProto
    Damage = Callable[[Case, Model, np.random.Generator], Model | None]


def scaled(model: Model, part: Part, factors: Any, offsets: Any = 0.0) -> Model:
    """Return ``model`` with a part of its output multiplied by ``factors``, plus ``offsets``."""
    tail = [1] * (_rank(model, part.output) - part.axis - 1)
    tables = np.ones(part.size, np.float32), np.zeros(part.size, np.float32)
    places = slice(part.first, part.first + part.count)
    tables[0][places], tables[1][places] = factors, offsets

    def make(made: Model, source: str, result: str) -> list[onnx.NodeProto]:
        names = [graphs.constant(made, f"{result}.{n}", one.reshape(-1, *tail)) for n, one in enumerate(tables)]
        product = graphs.node("Mul", [source, names[0]], f"{result}.product")
        return [product, graphs.node("Add", [f"{result}.product", names[1]], result)]

    return graphs.after(model, part.output, make)


def _rank(model: Model, output: str) -> int:
    return next(len(one.type.tensor_type.shape.dim) for one in model.graph.output if one.name == output)


def gathered(model: Model, output: str, axis: int, indices: Sequence[int] | NDArray[Any]) -> Model:
    """Return ``model`` with its output in another order along ``axis``."""

    def make(made: Model, source: str, result: str) -> list[onnx.NodeProto]:
        order = graphs.constant(made, f"{result}.order", np.asarray(indices, np.int64))
        return [graphs.node("Gather", [source, order], result, axis=axis)]

    return graphs.after(model, output, make)


def mapped(model: Model, part: Part, kind: str, *, low: float | None = None, high: float | None = None) -> Model:
    """Return ``model`` with operator ``kind`` applied to a part of its output; ``Clip`` takes ``low`` and ``high``."""
    mask = (np.arange(part.size) >= part.first).reshape(-1, *[1] * (_rank(model, part.output) - part.axis - 1))

    def make(made: Model, source: str, result: str) -> list[onnx.NodeProto]:
        chosen = graphs.constant(made, f"{result}.mask", mask)
        limits = [
            graphs.constant(made, f"{result}.{name}", np.float32(one)) if one is not None else ""
            for name, one in (("low", low), ("high", high))
        ]
        operator = graphs.node(kind, [source, *limits] if kind == "Clip" else [source], f"{result}.other")
        return [operator, graphs.node("Where", [chosen, f"{result}.other", source], result)]

    return graphs.after(model, part.output, make)


def input_scaled(model: Model, name: str, factor: Any, offset: Any = 0.0) -> Model:
    """Return ``model`` that multiplies a float input by ``factor``, and adds ``offset``, before it is used."""

    def make(made: Model, source: str, result: str) -> list[onnx.NodeProto]:
        names = [
            graphs.constant(made, f"{result}.{n}", np.asarray(v, np.float32)) for n, v in enumerate((factor, offset))
        ]
        product = graphs.node("Mul", [source, names[0]], f"{result}.product")
        return [product, graphs.node("Add", [f"{result}.product", names[1]], result)]

    return graphs.before(model, name, make)


def input_gathered(model: Model, name: str, axis: int, indices: Any) -> Model:
    """Return ``model`` that takes an input in another order along ``axis``."""

    def make(made: Model, source: str, result: str) -> list[onnx.NodeProto]:
        order = graphs.constant(made, f"{result}.order", np.asarray(indices, np.int64))
        return [graphs.node("Gather", [source, order], result, axis=axis)]

    return graphs.before(model, name, make)


def _on_scores(edit: Callable[[Case, Model, Part, np.random.Generator], Model | None]) -> Damage:
    def damage(case: Case, model: Model, random: np.random.Generator) -> Model | None:
        return None if case.subject.scores is None else edit(case, model, case.subject.scores, random)

    return damage


def _on_boxes(edit: Callable[[Case, Model, Part, np.random.Generator], Model | None]) -> Damage:
    def damage(case: Case, model: Model, random: np.random.Generator) -> Model | None:
        return None if case.subject.boxes is None else edit(case, model, case.subject.boxes, random)

    return damage


def _one_class_dead(case: Case, model: Model, part: Part, _: np.random.Generator) -> Model | None:
    if part.count < 2:
        return None
    factors = np.ones(part.count, np.float32)
    factors[case.commonest] = 0
    return scaled(model, part, factors, -1e3 * (1 - factors) if case.subject.logits else 0.0)


def _classes_shifted(_: Case, model: Model, part: Part, __: np.random.Generator) -> Model | None:
    if part.count < 2:
        return None
    order = np.arange(part.size)
    order[part.first :] = np.roll(order[part.first :], 1)
    return gathered(model, part.output, part.axis, order)


def _saturated(case: Case, model: Model, part: Part, _: np.random.Generator) -> Model:
    """Clip the scores where a third of the highest ones lie above, as a scale does that is too small."""
    values = np.take(
        graphs.run(model, case.calibration)[part.output], range(part.first, part.first + part.count), part.axis
    )
    best = np.sort(values.reshape(len(values), -1).max(1))
    return mapped(
        model, part, "Clip", high=float(best[len(best) // 3]) * 0.5 if not case.subject.logits else float(best[0]) * 0.5
    )


def _boxes_moved(case: Case, model: Model, part: Part, random: np.random.Generator) -> Model:
    shift = case.subject.size * float(random.uniform(0.12, 0.25))
    return scaled(model, part, 1.0, [shift, shift] + [0, 0] * (part.axis == 1) + [shift, shift] * (part.axis == 2))


def _map_moved(case: Case, model: Model, random: np.random.Generator) -> Model | None:
    if case.subject.task != "segmentation" or case.subject.scores is None:
        return None
    size = int(case.subject.size)
    return gathered(model, case.subject.scores.output, 3, np.roll(np.arange(size), int(random.integers(3, 9))))


def _truncated(case: Case, model: Model, _: np.random.Generator) -> Model | None:
    """Keep the first half of a sequence: of the steps of the output, of the file's bytes, of the audio."""
    subject = case.subject
    if subject.task == "ctc" and subject.scores is not None:
        steps = graphs.run(model, {name: one[:1] for name, one in case.calibration.items()})[
            subject.scores.output
        ].shape[1]
        return gathered(model, subject.scores.output, 1, np.minimum(np.arange(steps), steps // 2))
    for name, first in (("bytes", 1024), ("input", 320)):
        if name in case.calibration:
            size = case.calibration[name].shape[1]
            return input_gathered(model, name, 1, np.where(np.arange(size) < first, np.arange(size), first))
    return None


def _output_stuck(case: Case, model: Model, random: np.random.Generator) -> Model:
    """Make a whole output what it is for one sample, for all samples."""
    name = case.model.graph.output[int(random.integers(len(case.model.graph.output)))].name
    value = graphs.run(case.model, {key: one[:1] for key, one in case.calibration.items()})[name]

    def make(made: Model, source: str, result: str) -> list[onnx.NodeProto]:
        none = graphs.constant(made, f"{result}.zero", np.float32(0))
        fixed = graphs.constant(made, f"{result}.fixed", value)
        product = graphs.node("Mul", [source, none], f"{result}.none")
        return [product, graphs.node("Add", [f"{result}.none", fixed], result)]

    return graphs.after(model, name, make)


def _component(kind: str) -> Damage:
    def damage(case: Case, model: Model, random: np.random.Generator) -> Model | None:
        if case.subject.task != "regression":
            return None
        output = case.model.graph.output[int(random.integers(len(case.model.graph.output)))]
        width = output.type.tensor_type.shape.dim[-1].dim_value
        one = int(random.integers(width))
        if kind == "swapped":
            order = np.arange(width)
            order[[one, one - 1]] = order[[one - 1, one]]
            return gathered(model, output.name, 1, order)
        factors, offsets = np.ones(width, np.float32), np.zeros(width, np.float32)
        factors[one] = {"dead": 0.0, "negated": -1.0, "shrunk": 0.75, "moved": 1.0}[kind]
        offsets[one] = 0.15 if kind == "moved" else 0.0
        return scaled(model, Part(output.name, 1, 0, width, width), factors, offsets)

    return damage


def _input_float(case: Case) -> str:
    return case.subject.image or case.subject.signal


def _input(kind: str) -> Damage:
    def damage(case: Case, model: Model, random: np.random.Generator) -> Model | None:
        name = _input_float(case)
        if not name:
            return None
        values = case.calibration[name]
        if kind == "scale":
            return input_scaled(model, name, random.choice([1 / 255, 0.25, 2.0, 4.0]))
        return input_scaled(model, name, 1.0, np.ptp(values) * random.uniform(0.25, 0.5))

    return damage


def _image(kind: str) -> Damage:
    def damage(case: Case, model: Model, _: np.random.Generator) -> Model | None:
        name = case.subject.image
        if not name:
            return None
        shape = case.calibration[name].shape
        if kind == "channels":
            return input_gathered(model, name, 1, [2, 1, 0]) if shape[1] == 3 else None
        if kind == "mirrored":
            return input_gathered(model, name, 3, np.arange(shape[3])[::-1].copy())
        for axis in (2, 3):
            model = input_gathered(model, name, axis, np.arange(shape[axis]) // 2 * 2)
        return model

    return damage


def _bytes_off(case: Case, model: Model, _: np.random.Generator) -> Model | None:
    """Add one to each byte: a padding value that became a content, and vice versa."""
    if "bytes" not in case.calibration:
        return None

    def make(made: Model, source: str, result: str) -> list[onnx.NodeProto]:
        one = graphs.constant(made, f"{result}.one", np.int32(1))
        most = graphs.constant(made, f"{result}.most", np.int32(256))
        return [graphs.node("Add", [source, one], f"{result}.sum"), graphs.node("Min", [f"{result}.sum", most], result)]

    return graphs.before(model, "bytes", make)


PLACED: Mapping[str, Damage] = {
    "dead scores": _on_scores(lambda _, model, part, __: scaled(model, part, 0.0)),
    "one class dead": _on_scores(_one_class_dead),
    "scores compressed": _on_scores(lambda _, model, part, random: scaled(model, part, random.uniform(0.2, 0.5))),
    "scores raised": _on_scores(
        lambda _, model, part, random: scaled(model, part, 1 - (a := random.uniform(0.2, 0.4)), a)
    ),
    "scores saturated": _on_scores(_saturated),
    "class order shifted": _on_scores(_classes_shifted),
    "sigmoid twice": _on_scores(lambda _, model, part, __: mapped(model, part, "Sigmoid")),
    "boxes shifted": _on_boxes(_boxes_moved),
    "boxes scaled": _on_boxes(lambda _, model, part, random: scaled(model, part, random.choice([0.5, 0.7, 1.4]))),
    "boxes turned": _on_boxes(
        lambda _, model, part, __: gathered(model, part.output, part.axis, [1, 0, 3, 2, *range(4, part.size)])
    ),
    "map shifted": _map_moved,
    "sequence truncated": _truncated,
    "output stuck": _output_stuck,
    "component dead": _component("dead"),
    "components swapped": _component("swapped"),
    "component negated": _component("negated"),
    "component shrunk": _component("shrunk"),
    "component moved": _component("moved"),
    "input scaled": _input("scale"),
    "input offset": _input("offset"),
    "channels swapped": _image("channels"),
    "mirrored": _image("mirrored"),
    "half resolution": _image("half"),
    "bytes off by one": _bytes_off,
}
"""Damage that floating-point and INT8 engines can have alike."""
