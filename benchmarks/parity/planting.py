"""40 planted faults and 40 healthy engines: drawn by a seed, run by the agent's runtime, compared and diagnosed.

The kinds of faults alternate; graph, precision and node of a case are random. By a rule fixed in advance, a case is
discarded and drawn again if the graph has no node for the fault, if ONNX Runtime cannot run the result, or if the fault
has no effect: in FP32 it changes no output of any sample by more than the rounding of the engine's precision
(``hil.diagnose.error_bounds.FLOORS``, relative to the RMS). A weight of an inactive channel is such a fault. A wrong
scale of Q and DQ and an overflow have no effect in FP32: they must change the outputs of the engine in its precision.

An undamaged engine of another project's network is healthy only if it is sound (``third_party.unsound``). An unsound
engine counts neither as healthy nor as accused, nor for a fault that was planted in it. Another engine is drawn
instead, and its row lists the unsound one in ``unsound``.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from functools import cache, partial
from multiprocessing import Pool
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.parity import engines, faults, third_party
from benchmarks.parity.graphs import MAKERS, Case, Feeds
from hil.checks.comparison import Comparison
from hil.diagnose.bisect import diagnose
from hil.diagnose.error_bounds import FLOORS
from hil.diagnose.graph import DEQUANTIZE, Graph
from hil.diagnose.running import on_host
from hil.diagnose.tensor_error import error
from hil.diagnose.variants import marked
from hil.errors import HilError
from hil.results import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import onnx

    from hil.diagnose.diagnosis import Diagnosis

GRAPHS = ("digits", "arm", "encoder", "squeezenet", "shufflenet")
PRECISIONS = ("fp32", "fp16", "int8")
SAMPLES = 3
CALIBRATION = {"digits": 128, "arm": 256, "encoder": 128, **dict.fromkeys(third_party.NAMES, 48)}
"""Number of samples for INT8 calibration: with too few an engine is not healthy. Other graphs use ``FEW``: they are
large."""

FEW = 12
TRIES = 200
HEALTHY = "healthy"


@dataclass(frozen=True)
class Drawn:
    """An engine's graph and its reference; ``planted`` is ``None`` for a healthy engine.

    ``unsound`` lists the engines drawn before that are not sound even without a fault.
    """

    graph: str
    precision: str
    kind: str
    reference: onnx.ModelProto
    suspect: onnx.ModelProto
    samples: list[Feeds]
    planted: faults.Planted | None
    unsound: tuple[str, ...] = ()


def draw_fault(seed: int, number: int, graphs: Sequence[str]) -> Drawn:
    """Return the fault number ``number``: the kinds alternate, the rest is random. Overflow needs FP16, range INT8."""
    kind = faults.KINDS[number % len(faults.KINDS)]
    rng = np.random.default_rng([seed, number])
    fit = [graph for graph in graphs if faults.NEEDS.get(kind, _operators(graph)) & _operators(graph)]
    unsound: list[str] = []
    for _ in range(TRIES):
        graph = str(rng.choice(fit))
        precision = {"overflow": "fp16", "range": "int8"}.get(kind) or str(rng.choice(PRECISIONS))
        case = _case(graph, int(rng.integers(1 << 16)))
        calibration = int(rng.integers(1 << 16))
        made = _plant(case, kind, precision, rng, calibration)
        if made is not None and _is_sound(case, precision, calibration, unsound):
            return replace(made, unsound=tuple(unsound))
    raise SystemExit(f"no {kind} fault could be drawn in {TRIES} tries: seed {seed}, number {number}")


@cache
def _operators(graph: str) -> frozenset[str]:
    """Return the operators of a graph, so that a graph without a node for a kind of fault is never drawn."""
    return frozenset(node.op_type for node in _case(graph, 0).model.graph.node)


def _case(graph: str, seed: int) -> Case:
    """Return a graph: another project's with its own weights, or one with weights drawn by ``seed``."""
    return third_party.third_party(graph) if graph in third_party.NAMES else MAKERS[graph](seed)


def draw_healthy(seed: int, number: int, graphs: Sequence[str]) -> Drawn:
    """Return the healthy engine number ``number``: precisions alternate. An FP32 graph is rewritten by ONNX Runtime."""
    rng = np.random.default_rng([seed, 1000 + number])
    precision = PRECISIONS[number % len(PRECISIONS)]
    unsound: list[str] = []
    for _ in range(TRIES):
        case = _case(str(rng.choice(graphs)), int(rng.integers(1 << 16)))
        samples = case.samples(SAMPLES, int(rng.integers(1 << 16)))
        calibration = int(rng.integers(1 << 16))
        if _is_sound(case, precision, calibration, unsound):
            suspect = _undamaged(case, precision, calibration)
            return Drawn(case.name, precision, HEALTHY, case.model, suspect, samples, None, tuple(unsound))
    raise SystemExit(f"no sound {precision} engine could be drawn in {TRIES} tries: seed {seed}, number {number}")


def _is_sound(case: Case, precision: str, calibration: int, unsound: list[str]) -> bool:
    """Return whether the undamaged engine is sound; append it to ``unsound`` if not."""
    wrong = _wrong(case.name, precision, calibration * (precision == "int8")) if case.name in third_party.NAMES else ""
    if wrong:
        unsound.append(f"{case.name} {precision}: {wrong}")
    return not wrong


@cache
def _wrong(name: str, precision: str, calibration: int) -> str:
    return third_party.unsound(name, _undamaged(third_party.third_party(name), precision, calibration))


def _undamaged(case: Case, precision: str, calibration: int) -> onnx.ModelProto:
    return engines.optimized(case.model) if precision == "fp32" else _built(case, case.model, precision, calibration)


def _built(case: Case, model: onnx.ModelProto, precision: str, calibration: int) -> onnx.ModelProto:
    """Return the engine's graph; ``calibration`` is the seed of the samples that calibrate INT8."""
    if precision == "int8":
        samples = case.samples(CALIBRATION.get(case.name, FEW), calibration)
        return engines.in_int8(model, samples, case.floating)
    return engines.in_fp16(model) if precision == "fp16" else model


def _plant(case: Case, kind: str, precision: str, rng: np.random.Generator, calibration: int) -> Drawn | None:
    samples = case.samples(SAMPLES, int(rng.integers(1 << 16)))
    reference, faulty = case.model, engines.copied(case.model)
    try:
        if kind == "overflow":
            inside = on_host(marked(Graph(reference), Graph(reference).makers, {}), samples[0])
            planted = faults.overflow(faulty, rng, inside)
            reference = engines.copied(faulty)
            sound, suspect = reference, engines.in_fp16(faulty)
        elif kind == "range":
            sound = _built(case, reference, precision, calibration)
            suspect = engines.copied(sound)
            planted = faults.range_(suspect, rng)
        else:
            planted = faults.GRAPH_FAULTS[kind](faulty, rng)
            sound, suspect = reference, faulty
        if planted is None or (kind == "axis" and not _survives(suspect, samples[0])):
            return None
        if not _has_effect(sound, suspect, samples, FLOORS[precision]):
            return None
        if kind in faults.GRAPH_FAULTS:
            suspect = _built(case, faulty, precision, calibration)
    except HilError:  # a draw that ONNX Runtime cannot run
        return None
    return Drawn(case.name, precision, kind, reference, suspect, samples, planted)


def _survives(model: onnx.ModelProto, feeds: Feeds) -> bool:
    """Return whether ONNX Runtime runs the model, tried in another process, because some shapes crash it."""
    child = os.fork()
    if not child:
        try:
            on_host(model, feeds)
        except BaseException:  # noqa: BLE001 - the child must end here, whatever happened
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def _has_effect(sound: onnx.ModelProto, suspect: onnx.ModelProto, samples: list[Feeds], floor: float) -> bool:
    for feeds in samples:
        have, want = on_host(suspect, feeds), on_host(sound, feeds)
        if any(have[name].shape != want[name].shape for name in want):
            return False
        if any(error(want[name], have[name]) > floor for name in want):
            return True
    return False


def judge(drawn: Drawn, engine: engines.Engine) -> dict[str, Any]:
    """Run, compare and diagnose the engine; return the row. With a fixed batch, only the worst sample is diagnosed."""
    start = time.perf_counter()
    answers = engine.many(drawn.suspect, drawn.samples)
    expected = [on_host(drawn.reference, feeds) for feeds in drawn.samples]
    comparison = Comparison(drawn.precision)  # type: ignore[arg-type]  # one of PRECISIONS
    for want, have in zip(expected, answers, strict=True):
        comparison.update(list(want.items()), [(name, have[name]) for name in want], samples=1)
    verdict = comparison.judge().verdict.value
    errors = [max(error(want[name], have[name]) for name in want) for want, have in zip(expected, answers, strict=True)]
    feeds = _together(drawn) or drawn.samples[int(np.argmax(errors))]
    diagnosis = diagnose(
        drawn.reference, drawn.suspect, feeds, drawn.precision, engine, stands=partial(stands, drawn.precision)
    )
    named = diagnosis.culprits[0].seen.node.name if diagnosis.culprits else ""
    return {
        "graph": drawn.graph,
        "precision": drawn.precision,
        "kind": drawn.kind,
        "planted": None if drawn.planted is None else _node(drawn, drawn.planted.tensor),
        "what": "" if drawn.planted is None else drawn.planted.what,
        "parity": verdict,
        "accused": bool(diagnosis.culprits),
        "named": named,
        "cause": diagnosis.culprits[0].cause.value if diagnosis.culprits else "",
        "right": drawn.planted is not None and bool(named) and _right(drawn, diagnosis),
        "exact": drawn.planted is not None and named == _node(drawn, drawn.planted.tensor),
        "unsound": list(drawn.unsound),
        "seconds": time.perf_counter() - start,
    }


def stands(precision: Any, expected: Feeds, obtained: Feeds) -> bool:
    """Return whether the outputs in ``obtained`` that ``expected`` names do not fail at the default tolerances."""
    comparison = Comparison(precision)
    comparison.update(list(expected.items()), [(name, obtained[name]) for name in expected])
    return comparison.judge().verdict is not Verdict.FAILED


def _together(drawn: Drawn) -> Feeds | None:
    """Return all samples in one batch, as a session would use; ``None`` if the model has a fixed batch."""
    if any(value.type.tensor_type.shape.dim[0].dim_value for value in drawn.reference.graph.input):
        return None
    return {name: np.concatenate([one[name] for one in drawn.samples]) for name in drawn.samples[0]}


def _node(drawn: Drawn, tensor: str) -> str:
    graph = Graph(drawn.reference)
    return graph.label(graph.makers[tensor]) if tensor in graph.makers else tensor


def _right(drawn: Drawn, diagnosis: Diagnosis) -> bool:
    """Return whether the named node is the faulty one, reads its output, or reads the wrongly preprocessed input.

    A Q/DQ pair that the quantizer put behind the output counts as part of the faulty node.
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
    return diagnosis.culprits[0].seen.node.name in allowed | tensors


def rows(
    seed: int, count: int, graphs: Sequence[str] = GRAPHS, have: Sequence[Mapping[str, Any]] = (), jobs: int = 1
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of ``count`` faults planted in ``graphs`` and of as many healthy engines.

    Rows in ``have`` are left out. ``jobs`` processes make the rows; with several the order varies.
    """
    known = {(row["kind"] == HEALTHY, row["number"]) for row in have}
    left = [(healthy, number) for healthy in (False, True) for number in range(count) if (healthy, number) not in known]
    work = partial(_row, seed, graphs)
    if jobs == 1:
        yield from map(work, left)
        return
    with Pool(jobs) as pool:
        yield from pool.imap_unordered(work, left)


def _row(seed: int, graphs: Sequence[str], which: tuple[bool, int]) -> Mapping[str, Any]:
    healthy, number = which
    drawn = draw_healthy(seed + 1, number, graphs) if healthy else draw_fault(seed, number, graphs)
    return {"number": number, **judge(drawn, engines.Engine())}
