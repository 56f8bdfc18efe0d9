"""Damage to a model's weights and to its calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.accuracy import graphs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import onnx
    from numpy.typing import NDArray

    from benchmarks.accuracy.case import Case
    from benchmarks.accuracy.damage import Damage

    Model = onnx.ModelProto
    Edit = Callable[[NDArray[Any]], NDArray[Any]]


def _edited(make: Callable[[np.random.Generator], Edit], *, everything: bool = False) -> Damage:
    """Return damage that replaces the weights of one layer, or of all layers, by what ``make`` returns."""

    def damage(_: Case, model: Model, random: np.random.Generator) -> Model:
        known = graphs.weights(model)
        chosen = known if everything else random.choice(list(known), 1, replace=False)
        edit = make(random)
        return graphs.with_weights(model, {name: edit(values) for name, values in known.items() if name in chosen})

    return damage


def _shuffled(random: np.random.Generator) -> Edit:
    """Return the weights in random order."""
    return lambda values: random.permutation(values.ravel()).reshape(values.shape)


def _permuted(random: np.random.Generator) -> Edit:
    def edit(values: NDArray[Any]) -> NDArray[Any]:
        axis = int(np.argmax(values.shape[:2]))
        one, other = random.choice(values.shape[axis], 2, replace=False)
        order = np.arange(values.shape[axis])
        order[[one, other]] = other, one
        return np.take(values, order, axis)

    return edit


def _noisy(random: np.random.Generator) -> Edit:
    share = random.uniform(0.3, 0.6)
    return lambda values: values + random.standard_normal(values.shape) * values.std() * share


def _in_four_bits(values: NDArray[Any]) -> NDArray[Any]:
    scale = max(np.abs(values).max() / (2**3 - 1), 1e-12)
    return np.asarray(np.round(values / scale) * scale)


def _saturated(case: Case, model: Model, random: np.random.Generator) -> Model | None:
    """Clip the output of one layer to a small share of its range."""
    found = graphs.layers(model)
    if not found:
        return None
    _, layer, _ = found[int(random.integers(len(found)))]
    name = layer.output[0]
    few = {key: values[:16] for key, values in case.calibration.items()}
    most = np.float32(float(np.abs(graphs.run(model, few, [name])[name]).max()) * random.uniform(0.01, 0.1))
    return graphs.applied(model, name, ("Clip", [-most, most], {}))


def _relu_lost(_: Case, model: Model, random: np.random.Generator) -> Model | None:
    """Remove one activation."""
    kinds = {"Relu", "HardSwish", "Clip", "Sigmoid", "HardSigmoid", "Tanh", "Erf"}
    ends = {one.name for one in model.graph.output}
    places = [n for n, one in enumerate(model.graph.node) if one.op_type in kinds and one.output[0] not in ends]
    if not places:
        return None
    made = graphs.copied(model)
    lost = made.graph.node[int(random.choice(places))]
    lost.CopyFrom(graphs.node("Identity", lost.input[:1], lost.output[0]))
    return made


def _bias_lost(_: Case, model: Model, random: np.random.Generator) -> Model | None:
    """Zero all biases of one kind of layer."""
    made = graphs.copied(model)
    names = {one.input[2] for one in made.graph.node if one.op_type in {"Conv", "Gemm"} and len(one.input) > 2}
    chosen = [tensor for tensor in made.graph.initializer if tensor.name in names]
    if not chosen:
        return None
    for tensor in chosen[int(random.integers(2)) :: 2] or chosen:
        tensor.raw_data = bytes(len(tensor.raw_data) or 4 * int(np.prod(tensor.dims)))
        del tensor.float_data[:]
    return made


def _calibrated_on(change: Callable[[NDArray[Any], np.random.Generator], Any]) -> Damage:
    def damage(case: Case, model: Model, random: np.random.Generator) -> Model | None:
        few = {name: values[:16] for name, values in case.calibration.items()}
        floats = {name: values for name, values in few.items() if values.dtype == np.float32}
        few |= {name: np.asarray(change(values, random), np.float32) for name, values in floats.items()}
        return case.in_int8(arrays=few, model=model) if floats else None

    return damage


FAULTS: Mapping[str, Damage] = {
    "layer zeroed": _edited(lambda _: np.zeros_like),
    "channels permuted": _edited(_permuted),
    "kernel turned": _edited(lambda _: lambda values: values[..., ::-1]),
    "layer with foreign weights": _edited(_shuffled),
    "foreign weights": _edited(_shuffled, everything=True),
    "noise on all weights": _edited(_noisy, everything=True),
    "weights in 4 bits": _edited(lambda _: _in_four_bits, everything=True),
    "one scale saturated": _saturated,
    "activation lost": _relu_lost,
    "biases lost": _bias_lost,
}
"""Damage to the weights of a model in floating point."""

CALIBRATED: Mapping[str, Damage] = {
    "calibrated on noise": _calibrated_on(lambda values, random: random.normal(0, 0.02, values.shape) * np.ptp(values)),
    "calibrated on dark samples": _calibrated_on(lambda values, random: values * random.uniform(0.05, 0.1)),
}
"""Wrong calibrations of a sound model."""
