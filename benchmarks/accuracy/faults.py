"""Damage to a model's weights and to its calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.accuracy import graphs

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx
    from numpy.typing import NDArray

    from benchmarks.accuracy.case import Case
    from benchmarks.accuracy.damage import Damage

    Model = onnx.ModelProto


def _drawn(model: Model, random: np.random.Generator, count: int = 1) -> list[str]:
    names = list(graphs.weights(model))
    return [str(one) for one in random.choice(names, min(count, len(names)), replace=False)]


def _layer(edit: str) -> Damage:
    def damage(_: Case, model: Model, random: np.random.Generator) -> Model | None:
        def change(values: NDArray[Any]) -> NDArray[Any]:
            if edit == "zeroed":
                return np.zeros_like(values)
            if edit == "permuted":  # two channels of the output in each other's place
                made, axis = values.copy(), int(np.argmax(values.shape[:2]))
                one, other = random.choice(values.shape[axis], 2, replace=False)
                index = [slice(None)] * values.ndim
                here, there = [*index], [*index]
                here[axis], there[axis] = one, other
                made[tuple(here)], made[tuple(there)] = values[tuple(there)], values[tuple(here)]
                return np.asarray(made)
            if edit == "turned":
                return np.ascontiguousarray(values[..., ::-1])
            return random.permutation(values.ravel()).reshape(values.shape)

        return graphs.edit_weights(model, _drawn(model, random), change)

    return damage


def _foreign(_: Case, model: Model, random: np.random.Generator) -> Model:
    """Give all layers the weights of a model that was trained on something else: as wide, in another order."""
    return graphs.edit_weights(
        model, list(graphs.weights(model)), lambda values: random.permutation(values.ravel()).reshape(values.shape)
    )


def _noisy(_: Case, model: Model, random: np.random.Generator) -> Model:
    share = random.uniform(0.3, 0.6)
    return graphs.edit_weights(
        model,
        list(graphs.weights(model)),
        lambda values: values + random.standard_normal(values.shape) * values.std() * share,
    )


def _few_bits(_: Case, model: Model, __: np.random.Generator) -> Model:
    def edit(values: NDArray[Any]) -> NDArray[Any]:
        scale = max(np.abs(values).max() / (2**3 - 1), 1e-12)
        return np.asarray(np.round(values / scale) * scale)

    return graphs.edit_weights(model, list(graphs.weights(model)), edit)


def _saturated(case: Case, model: Model, random: np.random.Generator) -> Model | None:
    """Clip what one layer puts out to a small share of its range, as a scale does that is far too small."""
    found = graphs.layers(model, "Conv", "ConvTranspose", "MatMul", "Gemm")
    if not found:
        return None
    _, layer, _ = found[int(random.integers(len(found)))]
    name = layer.output[0]
    few = {key: values[:16] for key, values in case.calibration.items()}
    most = float(np.abs(graphs.run(model, few, [name])[name]).max()) * random.uniform(0.01, 0.1)

    def make(made: Model, source: str, result: str) -> list[onnx.NodeProto]:
        limits = [graphs.constant(made, f"{result}.{n}", np.float32(one)) for n, one in enumerate((-most, most))]
        return [graphs.node("Clip", [source, *limits], result)]

    return graphs.after(model, name, make)


def _relu_lost(_: Case, model: Model, random: np.random.Generator) -> Model | None:
    """Take one activation out."""
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


def _calibrated_on(kind: str) -> Damage:
    def damage(case: Case, model: Model, random: np.random.Generator) -> Model | None:
        few = {name: values[:16] for name, values in case.calibration.items()}
        floats = {name: values for name, values in few.items() if values.dtype == np.float32}
        if not floats:
            return None
        for name, values in floats.items():
            width = np.ptp(values)
            made = (
                random.normal(0, 0.02, values.shape) * width if kind == "noise" else values * random.uniform(0.05, 0.1)
            )
            few[name] = np.asarray(made, np.float32)
        return case.in_int8(arrays=few, model=model)

    return damage


FAULTS: Mapping[str, Damage] = {
    "layer zeroed": _layer("zeroed"),
    "channels permuted": _layer("permuted"),
    "kernel turned": _layer("turned"),
    "layer with foreign weights": _layer("foreign"),
    "foreign weights": _foreign,
    "noise on all weights": _noisy,
    "weights in 4 bits": _few_bits,
    "one scale saturated": _saturated,
    "activation lost": _relu_lost,
    "biases lost": _bias_lost,
}
"""Damage to the weights of a model in floating point."""

CALIBRATED: Mapping[str, Damage] = {
    "calibrated on noise": _calibrated_on("noise"),
    "calibrated on dark samples": _calibrated_on("dark"),
}
"""Wrong calibrations of a sound model."""
