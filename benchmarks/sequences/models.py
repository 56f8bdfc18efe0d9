"""Recurrent models with random weights: one step a call, with states that the caller carries.

All have input ``x`` [batch, ``WIDTH``] and output ``y`` [batch, ``ANSWERS``]. Their dynamics are stable: a small
difference dies away, fast or slowly, so that a sound engine stays close to the reference over any number of steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Array = NDArray[Any]

OPSET, IR_VERSION = 13, 8
WIDTH, ANSWERS = 6, 4
UNITS = 16
STEPS = 320
"""Steps of a sequence: drift may begin after 200."""


@dataclass(frozen=True)
class Recurrent:
    """A recurrent model.

    Attributes:
        states: the output that returns each state, by the input that receives it in the next step.
        axes: the axis of each state along which sequences are stacked.
    """

    name: str
    model: onnx.ModelProto
    states: Mapping[str, str]
    axes: Mapping[str, int]

    def empty(self, batch: int) -> dict[str, Array]:
        """Return states of zeros for ``batch`` sequences."""
        made = {}
        for value in self.model.graph.input:
            if value.name in self.states:
                dims = [one.dim_value or batch for one in value.type.tensor_type.shape.dim]
                made[value.name] = np.zeros(dims, np.float32)
        return made


def sequences(count: int, seed: int, steps: int = STEPS) -> Array:
    """Return ``x`` (count, steps, ``WIDTH``): a few sine waves, steps and noise, louder or softer towards the end."""
    rng = np.random.default_rng(seed)
    time = np.arange(steps)[None, :, None]
    made = 0.3 * rng.standard_normal((count, steps, WIDTH))
    for _ in range(3):
        period = np.exp(rng.uniform(np.log(8), np.log(200), (count, 1, WIDTH)))
        made += 0.5 * np.sin(2 * np.pi * (time / period + rng.uniform(0, 1, (count, 1, WIDTH))))
    jumps = np.where(rng.random((count, steps, WIDTH)) < 0.01, rng.normal(0, 1, (count, steps, WIDTH)), 0)
    made += np.clip(np.cumsum(jumps, axis=1), -1.5, 1.5)
    start = rng.uniform(0.5, 1.5, (count, 1, 1))
    return np.asarray(made * (start + (2 - 2 * start) * time / steps), np.float32)


@dataclass
class Draft:
    """A graph that is put together node by node; weights come from ``rng``."""

    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)

    def weight(self, name: str, values: Any) -> str:
        """Add an initializer, float32 unless it has integers; return its name."""
        array = np.asarray(values)
        self.weights.append(
            numpy_helper.from_array(array.astype(np.float32) if array.dtype.kind == "f" else array, name)
        )
        return name

    def add(self, kind: str, inputs: list[str], *outputs: str, **attributes: Any) -> str:
        """Add a node named after its first output, and return that output."""
        named = next(one for one in outputs if one)
        self.nodes.append(helper.make_node(kind, inputs, list(outputs), name=named, **attributes))
        return named

    def linear(self, name: str, source: str, wide: int, narrow: int, scale: float = 1.0) -> str:
        """Add a Gemm from ``wide`` to ``narrow`` values with a bias."""
        kernel = self.weight(f"{name}.weight", self.rng.normal(0, scale * wide**-0.5, (wide, narrow)))
        bias = self.weight(f"{name}.bias", self.rng.normal(0, 0.1, narrow))
        return self.add("Gemm", [source, kernel, bias], name)

    def done(self, name: str, states: Mapping[str, tuple[str, list[int | str]]]) -> Recurrent:
        """Return the model; ``states`` has each state's output and its shape, with ``batch`` where sequences are."""
        ends = [("x", ["batch", WIDTH]), *((one, shape) for one, (_, shape) in states.items())]
        outs = [("y", ["batch", ANSWERS]), *states.values()]
        graph = helper.make_graph(self.nodes, name, _values(ends), _values(outs), self.weights)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        axes = {one: shape.index("batch") for one, (_, shape) in states.items()}
        return Recurrent(name, model, {one: output for one, (output, _) in states.items()}, axes)


def _values(ends: Any) -> list[onnx.ValueInfoProto]:
    return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ends]


def contraction(rng: np.random.Generator, size: int, norm: float) -> Array:
    """Return a random matrix (size, size) with the spectral norm ``norm``."""
    made = rng.normal(0, 1, (size, size))
    return np.asarray(made * norm / np.linalg.norm(made, 2))


def _gates(draft: Draft, name: str, count: int, norm: float, units: int = UNITS) -> list[str]:
    """Add the weights W, R and B of ONNX's recurrent operators, with ``count`` gates."""
    kernel = draft.rng.normal(0, 0.8 * WIDTH**-0.5, (1, count * units, WIDTH))
    again = np.concatenate([contraction(draft.rng, units, norm) for _ in range(count)])[None]
    bias = draft.rng.normal(0, 0.3, (1, 2 * count * units))
    return [draft.weight(f"{name}.{part}", one) for part, one in (("W", kernel), ("R", again), ("B", bias))]


def _step_axis(draft: Draft) -> tuple[str, str]:
    """Add a node that gives ``x`` an axis for its one step. Return the names of its output and of the axis."""
    axis = draft.weight("step_axis", np.array([0]))
    return draft.add("Unsqueeze", ["x", axis], "x.step"), axis


def lstm(seed: int, units: int = UNITS) -> Recurrent:
    """Return an LSTM (ONNX's operator) with the states ``h`` and ``c`` [1, batch, ``units``]."""
    draft = Draft(np.random.default_rng(seed))
    step, axis = _step_axis(draft)
    draft.add("LSTM", [step, *_gates(draft, "lstm", 4, 0.9, units), "", "h", "c"], "", "hn", "cn", hidden_size=units)
    flat = draft.add("Squeeze", ["hn", axis], "hn.flat")
    draft.linear("y", flat, units, ANSWERS)
    shape: list[int | str] = [1, "batch", units]
    return draft.done("lstm", {"h": ("hn", shape), "c": ("cn", shape)})


def gru(seed: int) -> Recurrent:
    """Return a GRU (ONNX's operator) with the state ``h`` [1, batch, units], reset as in PyTorch or as in its paper."""
    draft = Draft(np.random.default_rng(seed))
    step, axis = _step_axis(draft)
    after = {"linear_before_reset": seed % 2}
    draft.add("GRU", [step, *_gates(draft, "gru", 3, 0.9), "", "h"], "", "hn", hidden_size=UNITS, **after)
    flat = draft.add("Squeeze", ["hn", axis], "hn.flat")
    draft.linear("y", flat, UNITS, ANSWERS)
    return draft.done("gru", {"h": ("hn", [1, "batch", UNITS])})


def plain(seed: int) -> Recurrent:
    """Return a plain recurrent layer node by node, with the state ``h`` [batch, units]."""
    draft = Draft(np.random.default_rng(seed))
    driven = draft.linear("driven", "x", WIDTH, UNITS)
    again = draft.weight("again.weight", contraction(draft.rng, UNITS, 0.95))
    recalled = draft.add("MatMul", ["h", again], "recalled")
    total = draft.add("Add", [driven, recalled], "total")
    draft.linear("y", draft.add("Tanh", [total], "hn"), UNITS, ANSWERS)
    return draft.done("plain", {"h": ("hn", ["batch", UNITS])})


def filter_(seed: int) -> Recurrent:
    """Return a bank of low-pass filters behind a layer: the linear state ``level`` [batch, units] forgets slowly."""
    draft = Draft(np.random.default_rng(seed))
    kept = 1 - np.exp(draft.rng.uniform(np.log(0.005), np.log(0.2), UNITS))
    wanted = draft.add("Tanh", [draft.linear("driven", "x", WIDTH, UNITS)], "wanted")
    lost = draft.add("Sub", [wanted, "level"], "lost")
    moved = draft.add("Mul", [lost, draft.weight("rate", 1 - kept)], "moved")
    level = draft.add("Add", ["level", moved], "next_level")
    draft.linear("y", level, UNITS, ANSWERS, scale=2.0)
    return draft.done("filter", {"level": ("next_level", ["batch", UNITS])})


def two(seed: int) -> Recurrent:
    """Return damped oscillators that a network drives: states ``place`` and ``speed``, both [batch, units]."""
    draft = Draft(np.random.default_rng(seed))
    damping, stiffness = draft.rng.uniform(0.05, 0.3, UNITS), draft.rng.uniform(0.01, 0.1, UNITS)
    push = draft.add("Tanh", [draft.linear("driven", "x", WIDTH, UNITS)], "push")
    spring = draft.add("Mul", ["place", draft.weight("stiffness", stiffness)], "spring")
    brake = draft.add("Mul", ["speed", draft.weight("damping", damping)], "brake")
    scaled = draft.add("Mul", [push, draft.weight("strength", np.array(0.2))], "scaled_push")
    change = draft.add("Sub", [draft.add("Sub", [scaled, spring], "undamped"), brake], "change")
    speed = draft.add("Add", ["speed", change], "next_speed")
    place = draft.add("Add", ["place", speed], "next_place")
    both = draft.add("Concat", [place, speed], "both", axis=1)
    draft.linear("y", draft.add("Tanh", [both], "bounded"), 2 * UNITS, ANSWERS)
    shape: list[int | str] = ["batch", UNITS]
    return draft.done("two", {"place": ("next_place", shape), "speed": ("next_speed", shape)})


def stack(seed: int) -> Recurrent:
    """Return two minimal gated layers with one state ``h`` [2, batch, units]: sequences are along axis 1."""
    draft = Draft(np.random.default_rng(seed))
    last, wide, made = "x", WIDTH, []
    for layer in range(2):
        at = f"layer{layer}"
        index = draft.weight(f"{at}.index", np.array(layer))
        state = draft.add("Gather", ["h", index], f"{at}.h", axis=0)
        gate = draft.add("Sigmoid", [draft.linear(f"{at}.gate", last, wide, UNITS)], f"{at}.open")
        again = draft.weight(f"{at}.again", contraction(draft.rng, UNITS, 0.9))
        recalled = draft.add("MatMul", [state, again], f"{at}.recalled")
        total = draft.add("Add", [draft.linear(f"{at}.driven", last, wide, UNITS), recalled], f"{at}.total")
        new = draft.add("Tanh", [total], f"{at}.new")
        change = draft.add("Sub", [new, state], f"{at}.change")
        moved = draft.add("Mul", [gate, change], f"{at}.moved")
        last, wide = draft.add("Add", [state, moved], f"{at}.hn"), UNITS
        made.append(draft.add("Unsqueeze", [last, _first_axis(draft)], f"{at}.row"))
    draft.add("Concat", made, "hn", axis=0)
    draft.linear("y", last, UNITS, ANSWERS)
    return draft.done("stack", {"h": ("hn", [2, "batch", UNITS])})


def _first_axis(draft: Draft) -> str:
    known = {one.name for one in draft.weights}
    return "first_axis" if "first_axis" in known else draft.weight("first_axis", np.array([0]))


MAKERS: Mapping[str, Callable[[int], Recurrent]] = {
    "lstm": lstm,
    "gru": gru,
    "plain": plain,
    "filter": filter_,
    "two": two,
    "stack": stack,
}
