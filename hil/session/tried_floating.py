"""Try to keep the nodes at fault of an int8 engine in floating point: calibrate again without them, build and run."""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import onnx

from hil.checks.task import Scores
from hil.checks.tolerances import TASK_DEFAULTS
from hil.diagnose.tensor_error import slice_error
from hil.errors import EngineBuildError, EngineError, Unsupported, UserError, WorkerLost
from hil.onnx_files.precisions import WEIGHTED
from hil.quantize.floating import MOVING
from hil.runtimes import runtime_record
from hil.session.diagnosing import DiagnosisTimeout, OnTarget

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.metrics import Metric
    from hil.results import Row
    from hil.session.diagnosing import Examined, Values
    from hil.session.engine_context import EngineContext

    Array = np.ndarray[Any, Any]

LIMIT = 60.0
"""Limit of each part of a trial, in seconds from the part's start: calibration fails after this time, no further engine
is built, and scoring ends with the samples so far."""

MOST = 3
"""The most culprits that are kept in floating point together."""

SCORED = 256
"""The most samples whose scores judge a trial, rounded up to whole batches."""


class Scored(Protocol):
    """The metric of a model's task (``None`` without one), and the scores of both sides, one array for each batch."""

    metric: Metric | None
    reference: list[Array]
    candidate: list[Array]


def tried_floating(session: EngineContext, row: Row, examined: Examined, scored: Scored) -> dict[str, Any]:
    """Keep culprits of ``examined`` in floating point, and return the effect on the engine's errors for the report.

    The worst culprit is tried first, then up to ``MOST`` culprits together. The result has the ``nodes``, the
    ``slice_error`` of the worst output ``before`` and ``after``, the number of ``samples`` and, if ``scored`` has
    scores, the losses of ``score``. If the first trial fails or takes too long, the result has ``nodes`` and
    ``why_not``. It is empty unless hil calibrated the engine in int8 and a culprit has a named node.
    """
    calibration = session.model(row.model).calibration
    made = session.engines.provisioned(row.model, row.precision)
    if row.precision != "int8" or calibration is None or made.quantized is None:
        return {}
    result: dict[str, Any] = {}
    for names in dict.fromkeys((_nodes(examined, 1), _nodes(examined, MOST))):
        if not names:
            continue
        spec = calibration.model_copy(update={"exclude_nodes": (*calibration.exclude_nodes, *names)})
        text = f"{row.model} int8: trying {', '.join(names)} in floating point"
        try:
            with session.progress.step(text, seconds=3 * LIMIT):
                tried = _tried(session, row, examined, spec, scored)
        except (DiagnosisTimeout, EngineBuildError, EngineError, Unsupported, UserError, WorkerLost) as error:
            return result or {"nodes": list(names), "why_not": str(error)}
        if not result or _rank(tried) < _rank(result):
            result = {"nodes": list(names), **tried}
        if helped(tried):
            break
    return result


def helped(tried: Mapping[str, Any]) -> bool:
    """Return whether a trial at least halved the error of the worst output, or a loss of score beyond its tolerance."""
    score = tried.get("score") or {}
    lost, least = score.get("before", 0.0), score.get("tolerance", 0.0)
    return bool(tried["after"] <= tried["before"] / 2 or (lost > max(least, 0.0) and score["after"] <= lost / 2))


def _rank(tried: Mapping[str, Any]) -> tuple[float, float]:
    return (tried.get("score") or {}).get("after", 0.0), tried["after"]


def _nodes(examined: Examined, count: int) -> tuple[str, ...]:
    """Return the names of the nodes of the ``count`` worst culprits and of the layers that read their results.

    A layer also counts if it reads a result through nodes that only move values, e.g. a Reshape: it rounds the same
    values.
    """
    named = [node for node in examined.reference.graph.node if node.name]
    names: dict[str, None] = {}
    for culprit in examined.diagnosis.culprits[:count]:
        tensor = culprit.seen.tensor
        moved = {tensor}
        for node in examined.reference.graph.node:
            if node.op_type in MOVING and not moved.isdisjoint(node.input):
                moved.update(node.output)
        own = [node.name for node in named if tensor in node.output]
        readers = [node.name for node in named if node.op_type in WEIGHTED and not moved.isdisjoint(node.input)]
        names |= dict.fromkeys([*own, *readers])
    return tuple(names)


def _tried(session: EngineContext, row: Row, examined: Examined, spec: Any, scored: Scored) -> dict[str, Any]:
    """Return the errors and the losses of score of the engine without and with more nodes in floating point."""
    from hil.diagnose.running import on_host
    from hil.quantize import quantize

    until = time.monotonic() + LIMIT

    def counted(_: int) -> None:
        if time.monotonic() > until:
            raise DiagnosisTimeout(f"calibrating without these nodes took longer than {LIMIT:.0f} s")

    layout = runtime_record(session.spec.runtime).qdq_layout
    path, data = session.onnx(row.model), session.calibration_data(row.model)
    with tempfile.TemporaryDirectory(prefix="hil-floating-") as folder:
        variant = onnx.load(str(quantize(path, Path(folder), data, spec, layout=layout, counted=counted).path))
    runner = OnTarget(session, row.model, row.precision, LIMIT)
    expected = on_host(examined.reference, examined.feeds)
    before, after = (_worst(expected, runner(model, examined.feeds)) for model in (examined.suspect, variant))
    samples = max((len(array) for array in examined.feeds.values() if array.ndim), default=1)
    score = _losses(session, row, variant, scored)
    return {"before": before, "after": after, "samples": samples, **({"score": score} if score else {})}


def _losses(session: EngineContext, row: Row, variant: onnx.ModelProto, scored: Scored) -> dict[str, Any]:
    """Return the losses of score of the engine and of ``variant`` over the same samples, and their tolerance.

    Return an empty dict if there are no scores of the engine.
    """
    metric, spec, data = scored.metric, session.model(row.model), session.dataset(row.model)
    if metric is None or not scored.candidate:
        return {}
    whole = data.count if spec.samples is None else min(spec.samples, data.count)
    until = time.monotonic() + LIMIT
    scores: list[Array] = []
    with OnTarget(session, row.model, row.precision).opened(variant) as worker:
        for batch in data.batches(spec.batch, min(whole, spec.batch * -(-SCORED // spec.batch))):
            if scores and time.monotonic() > until:
                break
            scores.append(metric.score(dict(worker.run(batch.feeds)), batch.labels))
    ours = np.concatenate(scored.reference[: len(scores)])
    sign = 1.0 if metric.higher_is_better else -1.0
    losses = []
    for theirs in (np.concatenate(scored.candidate[: len(scores)]), np.concatenate(scores)):
        pools = None if metric.pools is None else metric.pools(ours, theirs)
        first, second = Scores(metric.key, ours, theirs, pools).whole()
        losses.append(sign * (first - second))
    written = spec.tolerances.get("int8")
    own = None if written is None else getattr(written, metric.key)
    tolerance = TASK_DEFAULTS.get(metric.key, {}).get("int8", 0.0) if own is None else own
    return {"before": losses[0], "after": losses[1], "samples": len(ours), "tolerance": tolerance}


def _worst(expected: Values, obtained: Values) -> float:
    errors = [slice_error(array, obtained[name]) if name in obtained else math.inf for name, array in expected.items()]
    return max(errors, default=0.0)
