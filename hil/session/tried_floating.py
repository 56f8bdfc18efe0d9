"""Try to keep the nodes at fault of an int8 engine in floating point: calibrate again without them, build and run."""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from hil.diagnose.tensor_error import slice_error
from hil.errors import EngineBuildError, EngineError, Unsupported, UserError, WorkerLost
from hil.quantize.layout import WEIGHTED
from hil.runtimes import runtime_record
from hil.session.diagnosing import DiagnosisTimeout, OnTarget

if TYPE_CHECKING:
    from hil.results import Row
    from hil.session.diagnosing import Examined, Values
    from hil.session.engine_context import EngineContext

LIMIT = 60.0
"""Seconds after which the calibration is given up; building and running have the same limit again."""

MOST = 3
"""The most culprits that are kept in floating point together."""


def tried_floating(session: EngineContext, row: Row, examined: Examined) -> dict[str, Any]:
    """Return what keeping the culprits of ``examined`` in floating point gained; empty if there is nothing to try.

    The worst culprit is tried alone, then together with the next two if the error did not halve. The result has
    ``nodes``, the errors of the outputs ``before`` and ``after`` (``slice_error`` of the worst output) and the number
    of ``samples`` that ran on the target; or ``nodes`` and ``why_not`` if the trial failed or took too long.
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
            with session.progress.step(text, seconds=2 * LIMIT):
                before, after = _errors(session, row, examined, spec)
        except (DiagnosisTimeout, EngineBuildError, EngineError, Unsupported, UserError, WorkerLost) as error:
            return result or {"nodes": list(names), "why_not": str(error)}
        samples = max((len(array) for array in examined.feeds.values() if array.ndim), default=1)
        if not result or after < result["after"]:
            result = {"nodes": list(names), "before": before, "after": after, "samples": samples}
        if after <= before / 2:
            break
    return result


def _nodes(examined: Examined, count: int) -> tuple[str, ...]:
    """Return the nodes of the ``count`` worst culprits, and the layers that read their results, which round these."""
    named = [node for node in examined.reference.graph.node if node.name]
    names: dict[str, None] = {}
    for culprit in examined.diagnosis.culprits[:count]:
        tensor = culprit.seen.tensor
        own = [node.name for node in named if tensor in node.output]
        readers = [node.name for node in named if tensor in node.input and node.op_type in WEIGHTED]
        names |= dict.fromkeys([*own, *readers])
    return tuple(names)


def _errors(session: EngineContext, row: Row, examined: Examined, spec: Any) -> tuple[float, float]:
    """Return the errors of the engine's outputs without and with more nodes in floating point."""
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
    return before, after


def _worst(expected: Values, obtained: Values) -> float:
    errors = [slice_error(array, obtained[name]) if name in obtained else math.inf for name, array in expected.items()]
    return max(errors, default=0.0)
