"""40 planted faults and 40 healthy engines: drawn by seed, run on an agent, compared, and taken apart.

A case is drawn over graphs, precisions, kinds of fault and nodes. By a rule fixed in advance a draw is thrown away and
drawn again where the graph has no node for the fault; where ONNX Runtime cannot run what comes out; or where
the fault does nothing: in FP32 it moves no output on any of the samples by more than the rounding of the engine's
precision (``hil.diagnose.error_bounds.FLOORS``, relative to the RMS). A weight of a dead channel is such a fault. A
wrong scale of Q and DQ and an overflow are nothing in FP32: they must move what the same engine gives without them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.parity import engines, faults
from benchmarks.parity.graphs import MAKERS, Case, Feeds
from hil.checks.comparison import Comparison
from hil.diagnose.bisect import diagnose
from hil.diagnose.error_bounds import FLOORS
from hil.diagnose.graph import DEQUANTIZE, Graph
from hil.diagnose.running import on_host
from hil.diagnose.tensor_error import error
from hil.diagnose.variants import marked
from hil.errors import HilError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import onnx

    from hil.diagnose.diagnosis import Diagnosis

GRAPHS = ("digits", "arm", "encoder", "squeezenet", "shufflenet")
PRECISIONS = ("fp32", "fp16", "int8")
SAMPLES = 3
CALIBRATION = {"digits": 128, "arm": 256, "encoder": 128}
"""Samples that INT8 is calibrated on: with too few an engine is not healthy. Others get ``FEW``, which are large."""

FEW = 12
TRIES = 200


@dataclass(frozen=True)
class Drawn:
    """An engine's graph beside its reference; ``planted`` is ``None`` for a healthy one."""

    graph: str
    precision: str
    kind: str
    reference: onnx.ModelProto
    suspect: onnx.ModelProto
    samples: list[Feeds]
    planted: faults.Planted | None


def draw_fault(seed: int, number: int) -> Drawn:
    """The fault number ``number``: kinds take turns, all else is drawn."""
    kind = faults.KINDS[number % len(faults.KINDS)]
    rng = np.random.default_rng([seed, number])
    fit = [graph for graph in GRAPHS if faults.NEEDS.get(kind, _operators(graph)) & _operators(graph)]
    for _ in range(TRIES):
        graph = str(rng.choice(fit))
        precision = {"overflow": "fp16", "range": "int8"}.get(kind) or str(rng.choice(PRECISIONS))
        case = MAKERS[graph](int(rng.integers(1 << 16)))
        made = _plant(case, kind, precision, rng)
        if made is not None:
            return made
    raise SystemExit(f"no {kind} fault could be drawn in {TRIES} tries: seed {seed}, number {number}")


@cache
def _operators(graph: str) -> frozenset[str]:
    """What a graph is made of: one without a node for a kind need not be drawn to be thrown away."""
    return frozenset(node.op_type for node in MAKERS[graph](0).model.graph.node)


def draw_healthy(seed: int, number: int) -> Drawn:
    """The healthy engine number ``number``: precisions take turns, FP32 being a graph rewritten by ONNX Runtime."""
    rng = np.random.default_rng([seed, 1000 + number])
    precision = PRECISIONS[number % len(PRECISIONS)]
    graph = str(rng.choice(GRAPHS))
    case = MAKERS[graph](int(rng.integers(1 << 16)))
    samples = case.samples(SAMPLES, int(rng.integers(1 << 16)))
    suspect = engines.optimized(case.model) if precision == "fp32" else _built(case, case.model, precision, rng)
    return Drawn(graph, precision, "healthy", case.model, suspect, samples, None)


def _built(case: Case, model: onnx.ModelProto, precision: str, rng: np.random.Generator) -> onnx.ModelProto:
    if precision == "int8":
        return engines.in_int8(model, case.samples(CALIBRATION.get(case.name, FEW), int(rng.integers(1 << 16))))
    return engines.in_fp16(model) if precision == "fp16" else model


def _plant(case: Case, kind: str, precision: str, rng: np.random.Generator) -> Drawn | None:
    samples = case.samples(SAMPLES, int(rng.integers(1 << 16)))
    reference, faulty = case.model, engines.copied(case.model)
    try:
        if kind == "overflow":
            inside = on_host(marked(Graph(reference), Graph(reference).makers, {}), samples[0])
            planted = faults.overflow(faulty, rng, inside)
            reference = engines.copied(faulty)
            sound, suspect = reference, engines.in_fp16(faulty)
        elif kind == "range":
            sound = _built(case, reference, precision, rng)
            suspect = engines.copied(sound)
            planted = faults.range_(suspect, rng)
        else:
            planted = faults.GRAPH_FAULTS[kind](faulty, rng)
            sound, suspect = reference, faulty
        if planted is None or not _does_something(sound, suspect, samples, FLOORS[precision]):
            return None
        if kind in faults.GRAPH_FAULTS:
            suspect = _built(case, faulty, precision, rng)
    except HilError:  # a draw that ONNX Runtime cannot run
        return None
    return Drawn(case.name, precision, kind, reference, suspect, samples, planted)


def _does_something(sound: onnx.ModelProto, suspect: onnx.ModelProto, samples: list[Feeds], floor: float) -> bool:
    for feeds in samples:
        have, want = on_host(suspect, feeds), on_host(sound, feeds)
        if any(have[name].shape != want[name].shape for name in want):
            return False
        if any(error(want[name], have[name]) > floor for name in want):
            return True
    return False


def judged(drawn: Drawn, engine: engines.Engine) -> dict[str, Any]:
    """Runs and compares the engine, takes it apart on its samples (or the worst one), and says what came of it."""
    start = time.perf_counter()
    answers = engine.many(drawn.suspect, drawn.samples)
    expected = [on_host(drawn.reference, feeds) for feeds in drawn.samples]
    comparison = Comparison(drawn.precision)  # type: ignore[arg-type]  # one of PRECISIONS
    for want, have in zip(expected, answers, strict=True):
        comparison.update(list(want.items()), [(name, have[name]) for name in want], samples=1)
    verdict = comparison.judge().verdict.value
    errors = [max(error(want[name], have[name]) for name in want) for want, have in zip(expected, answers, strict=True)]
    feeds = _together(drawn) or drawn.samples[int(np.argmax(errors))]
    found = diagnose(drawn.reference, drawn.suspect, feeds, drawn.precision, engine)
    named = found.culprits[0].seen.node.name if found.culprits else ""
    return {
        "graph": drawn.graph,
        "precision": drawn.precision,
        "kind": drawn.kind,
        "planted": None if drawn.planted is None else _node(drawn, drawn.planted.tensor),
        "what": "" if drawn.planted is None else drawn.planted.what,
        "parity": verdict,
        "accused": bool(found.culprits),
        "named": named,
        "cause": found.culprits[0].cause.value if found.culprits else "",
        "right": drawn.planted is not None and bool(named) and _right(drawn, found),
        "exact": drawn.planted is not None and named == _node(drawn, drawn.planted.tensor),
        "seconds": time.perf_counter() - start,
    }


def _together(drawn: Drawn) -> Feeds | None:
    """All samples in one batch, as a session takes several; ``None`` where the model fixes its batch."""
    if any(value.type.tensor_type.shape.dim[0].dim_value for value in drawn.reference.graph.input):
        return None
    return {name: np.concatenate([one[name] for one in drawn.samples]) for name in drawn.samples[0]}


def _node(drawn: Drawn, tensor: str) -> str:
    graph = Graph(drawn.reference)
    return graph.label(graph.makers[tensor]) if tensor in graph.makers else tensor


def _right(drawn: Drawn, found: Diagnosis) -> bool:
    """Whether the node at fault is named, or one that a runtime fuses with it: one that takes what it makes.

    Of an input that is fed otherwise, a node that takes the input. Of a tensor the quantizer renamed, the node that
    makes what leaves its Q/DQ pair.
    """
    assert drawn.planted is not None  # noqa: S101 - the caller's condition
    graph, suspect = Graph(drawn.reference), Graph(drawn.suspect)
    tensors = {drawn.planted.tensor}
    readers = [node for node in suspect.nodes if drawn.planted.tensor in node.input]
    for node in readers:
        tensors |= {
            name
            for one in suspect.nodes
            if node.output[0] in one.input and one.op_type == DEQUANTIZE
            for name in one.output
        }
    allowed = {graph.label(graph.makers[name]) for name in tensors if name in graph.makers}
    allowed |= {graph.label(n) for n, node in enumerate(graph.nodes) if any(name in tensors for name in node.input)}
    return found.culprits[0].seen.node.name in allowed | tensors


def rows(seed: int, count: int, engine: engines.Engine) -> Iterator[Mapping[str, Any]]:
    """``count`` planted faults, then as many healthy engines."""
    for number in range(count):
        yield {"number": number, **judged(draw_fault(seed, number), engine)}
    for number in range(count):
        yield {"number": number, **judged(draw_healthy(seed + 1, number), engine)}
