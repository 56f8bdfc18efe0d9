"""Damage to a model's inputs and outputs, by nodes within its graph; ``None`` if the model has nothing to damage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.accuracy import graphs
from benchmarks.accuracy.graphs import applied, linear, ordered
from benchmarks.accuracy.subjects import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import onnx

    from benchmarks.accuracy.case import Case

    Model = onnx.ModelProto
    Damage = Callable[[Case, Model, np.random.Generator], Model | None]
    OnPart = Callable[[Case, Model, Part, np.random.Generator], Model | None]


def _along(model: Model, part: Part, inside: Any, outside: Any) -> Any:
    """Return a table for an output: ``inside`` at the places of ``part``, ``outside`` at the others."""
    rank = next(len(one.type.tensor_type.shape.dim) for one in model.graph.output if one.name == part.output)
    table = np.full(part.size, outside, np.float32)
    table[part.first : part.first + part.count] = inside
    return table.reshape(-1, *[1] * (rank - part.axis - 1))


def _scaled(model: Model, part: Part, factors: Any, offsets: Any = 0.0) -> Model:
    tables = _along(model, part, factors, 1), _along(model, part, offsets, 0)
    return applied(model, part.output, *linear(*tables))


def _on(name: str, edit: OnPart) -> Damage:
    """Return the damage to the part of an output that holds ``scores`` or ``boxes``."""

    def damage(case: Case, model: Model, random: np.random.Generator) -> Model | None:
        part = getattr(case.subject, name)
        return None if part is None else edit(case, model, part, random)

    return damage


def _one_class_dead(case: Case, model: Model, part: Part, _: np.random.Generator) -> Model | None:
    factors = np.ones(part.count, np.float32)
    factors[case.commonest] = 0
    return (
        _scaled(model, part, factors, -1e3 * (1 - factors) if case.subject.logits else 0.0) if part.count > 1 else None
    )


def _classes_shifted(_: Case, model: Model, part: Part, __: np.random.Generator) -> Model | None:
    order = np.arange(part.size)
    order[part.first :] = np.roll(order[part.first :], 1)
    return applied(model, part.output, ordered(order, part.axis)) if part.count > 1 else None


def _saturated(case: Case, model: Model, part: Part, _: np.random.Generator) -> Model:
    """Clip scores at a limit that a third of the highest ones exceed."""
    values = graphs.run(model, case.calibration)[part.output]
    values = np.take(values, range(part.first, part.first + part.count), part.axis)
    best = np.sort(values.reshape(len(values), -1).max(1))
    most = 0.5 * best[0 if case.subject.logits else len(best) // 3]
    return applied(model, part.output, ("Min", [_along(model, part, most, np.inf)], {}))


def _sigmoid_twice(_: Case, model: Model, part: Part, __: np.random.Generator) -> Model:
    mask = _along(model, part, 1, 0) > 0

    def make(made: Model, source: str, result: str) -> list[onnx.NodeProto]:
        chosen, other = graphs.constant(made, f"{result}.mask", mask), f"{result}.other"
        return [graphs.node("Sigmoid", [source], other), graphs.node("Where", [chosen, other, source], result)]

    return graphs.after(model, part.output, make)


def _boxes_moved(case: Case, model: Model, part: Part, random: np.random.Generator) -> Model:
    shift = case.subject.size * float(random.uniform(0.12, 0.25))
    return _scaled(model, part, 1.0, [shift, shift] + [0, 0] * (part.axis == 1) + [shift, shift] * (part.axis == 2))


def _map_moved(case: Case, model: Model, part: Part, random: np.random.Generator) -> Model | None:
    order = np.roll(np.arange(int(case.subject.size)), int(random.integers(3, 9)))
    return applied(model, part.output, ordered(order, 3)) if case.subject.task == "segmentation" else None


def _truncated(case: Case, model: Model, _: np.random.Generator) -> Model | None:
    """Cut off the end of an output's steps, a file's bytes or the audio; repeat the last remaining element instead."""
    subject = case.subject
    if subject.task == "ctc" and subject.scores is not None:
        few = {name: one[:1] for name, one in case.calibration.items()}
        steps = graphs.run(model, few)[subject.scores.output].shape[1]
        return applied(model, subject.scores.output, ordered(np.minimum(np.arange(steps), steps // 2), 1))
    for name, first in (("bytes", 1024), ("input", 320)):
        if name in case.calibration:
            return applied(model, name, ordered(np.minimum(np.arange(case.calibration[name].shape[1]), first), 1))
    return None


def _output_stuck(case: Case, model: Model, random: np.random.Generator) -> Model:
    """Replace an output by its value for one sample, for all samples."""
    name = case.model.graph.output[int(random.integers(len(case.model.graph.output)))].name
    value = graphs.run(case.model, {key: one[:1] for key, one in case.calibration.items()})[name]
    return applied(model, name, *linear(0, value))


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
            return applied(model, output.name, ordered(order, 1))
        factor = {"dead": 0.0, "negated": -1.0, "shrunk": 0.75, "moved": 1.0}[kind]
        return _scaled(model, Part(output.name, 1, one, 1, width), factor, 0.15 if kind == "moved" else 0.0)

    return damage


def _input(kind: str) -> Damage:
    def damage(case: Case, model: Model, random: np.random.Generator) -> Model | None:
        name = case.subject.image or case.subject.signal
        if not name:
            return None
        if kind == "scale":
            return applied(model, name, *linear(random.choice([1 / 255, 0.25, 2.0, 4.0]), 0))
        return applied(model, name, *linear(1, np.ptp(case.calibration[name]) * random.uniform(0.25, 0.5)))

    return damage


def _image(kind: str) -> Damage:
    def damage(case: Case, model: Model, _: np.random.Generator) -> Model | None:
        name = case.subject.image
        if not name:
            return None
        _, channels, *sizes = case.calibration[name].shape
        if kind == "channels":
            return applied(model, name, ordered([2, 1, 0], 1)) if channels == 3 else None
        if kind == "mirrored":
            return applied(model, name, ordered(np.arange(sizes[1])[::-1], 3))
        return applied(model, name, *(ordered(np.arange(size) // 2 * 2, axis) for axis, size in enumerate(sizes, 2)))

    return damage


def _bytes_off(case: Case, model: Model, _: np.random.Generator) -> Model | None:
    """Add one to each byte."""
    if "bytes" not in case.calibration:
        return None
    return applied(model, "bytes", ("Add", [np.int32(1)], {}), ("Min", [np.int32(256)], {}))


PLACED: Mapping[str, Damage] = {
    "dead scores": _on("scores", lambda _, model, part, __: _scaled(model, part, 0.0)),
    "one class dead": _on("scores", _one_class_dead),
    "scores compressed": _on("scores", lambda _, model, part, random: _scaled(model, part, random.uniform(0.2, 0.5))),
    "scores raised": _on(
        "scores", lambda _, model, part, random: _scaled(model, part, 1 - (a := random.uniform(0.2, 0.4)), a)
    ),
    "scores saturated": _on("scores", _saturated),
    "class order shifted": _on("scores", _classes_shifted),
    "sigmoid twice": _on("scores", _sigmoid_twice),
    "boxes shifted": _on("boxes", _boxes_moved),
    "boxes scaled": _on("boxes", lambda _, model, part, random: _scaled(model, part, random.choice([0.5, 0.7, 1.4]))),
    "boxes turned": _on(
        "boxes",
        lambda _, model, part, __: applied(model, part.output, ordered([1, 0, 3, 2, *range(4, part.size)], part.axis)),
    ),
    "map shifted": _on("scores", _map_moved),
    "sequence truncated": _truncated,
    "output stuck": _output_stuck,
    **{
        f"{'components' if kind == 'swapped' else 'component'} {kind}": _component(kind)
        for kind in ("dead", "swapped", "negated", "shrunk", "moved")
    },
    "input scaled": _input("scale"),
    "input offset": _input("offset"),
    "channels swapped": _image("channels"),
    "mirrored": _image("mirrored"),
    "half resolution": _image("half"),
    "bytes off by one": _bytes_off,
}
"""Damage that floating-point and INT8 engines can have alike."""
