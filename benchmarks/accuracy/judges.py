"""The judges: the product's comparison with and without declared kinds, its earlier rules, Polygraphy's defaults."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from benchmarks.accuracy.graphs import BATCH
from hil.checks.comparison import Comparison
from hil.config.spec import ModelSpec
from hil.metrics.agreement import open_answers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from benchmarks.accuracy.subjects import Subject
    from hil.config.spec import Precision

    Outputs = Mapping[str, NDArray[Any]]


class Verdict(NamedTuple):
    """A judge's verdict: ``passed``, ``failed`` or ``inconclusive``, with its reason.

    ``slice_error`` is the error of the worst slice. It is ``None`` if the judge does not compute it, if an output is
    dead, or if the error is infinite.
    """

    verdict: str
    reason: str
    slice_error: float | None = None


EARLIER: Mapping[str, Mapping[str, float]] = {
    "fp32": {"max_rel": 1e-4, "cosine": 0.99999},
    "tf32": {"max_rel": 1e-2, "cosine": 0.999},
    "fp16": {"max_rel": 1e-2, "cosine": 0.999},
    "bf16": {"max_rel": 5e-2, "cosine": 0.995},
    "int8": {"max_rel": 0.25, "cosine": 0.99, "sqnr_db": 15.0},
}
"""The default tolerances before outputs were compared slice by slice."""

POLYGRAPHY = 1e-5
"""The absolute and the relative tolerance for each element, by default; one of the two has to be met."""


def product(precision: str, subject: Subject, reference: Outputs, engine: Outputs, *, declared: bool) -> Verdict:
    """Return the verdict of ``Comparison`` at its defaults, with the kinds that ``hil init`` proposes or with none."""
    count = len(next(iter(reference.values())))
    tables = subject.tables if declared else {}
    spec = ModelSpec.model_validate({"path": "model.onnx", "data": "samples.npz", "outputs": tables})
    comparison = Comparison(cast("Precision", precision), samples=count, answers=open_answers(spec))
    for first in range(0, count, BATCH):
        rows = slice(first, min(first + BATCH, count))
        ours, theirs = ([(name, array[rows]) for name, array in one.items()] for one in (reference, engine))
        comparison.update(ours, theirs, rows.stop - rows.start)
    judgement = comparison.judge()
    rows = judgement.details.get("outputs", [])
    errors = [math.inf if row["dead"] else row["metrics"]["slice_error"] for row in rows] or [math.inf]
    return Verdict(judgement.verdict.value, judgement.reason, max(errors) if math.isfinite(max(errors)) else None)


def earlier(precision: str, _: Subject, reference: Outputs, engine: Outputs) -> Verdict:
    """Return the verdict by the earlier defaults: over all elements of an output together."""
    for name, expected in reference.items():
        x, y = expected.astype(np.float64), engine[name].astype(np.float64)
        if not np.isfinite(y).all():
            return Verdict("failed", f"{name} is not finite")
        error, norm = y - x, np.sqrt((x * x).sum()) * np.sqrt((y * y).sum())
        power = (error * error).sum()
        values = {
            "max_rel": np.abs(error).max() / np.abs(x).max(),
            "cosine": (x * y).sum() / norm if norm > 0 else 0.0,
            "sqnr_db": 10 * np.log10((x * x).sum() / power) if power > 0 else np.inf,
        }
        for metric, limit in EARLIER[precision].items():
            good = values[metric] <= limit if metric == "max_rel" else values[metric] >= limit
            if not good and power > 0:
                return Verdict("failed", f"{name}: {metric} {values[metric]:.4g}, limit {limit:g}")
    return Verdict("passed", "")


def polygraphy(_: str, __: Subject, reference: Outputs, engine: Outputs) -> Verdict:
    """Return the verdict by Polygraphy's defaults: each element within the absolute or the relative tolerance."""
    for name, expected in reference.items():
        error = np.abs(engine[name] - expected)
        out = ~((error <= POLYGRAPHY) | (error <= POLYGRAPHY * np.abs(expected)))
        if out.any():
            return Verdict("failed", f"{name}: {int(out.sum())} of {out.size} elements")
    return Verdict("passed", "")


JUDGES: Mapping[str, Callable[[str, Subject, Outputs, Outputs], Verdict]] = {
    "declared": partial(product, declared=True),
    "undeclared": partial(product, declared=False),
    "earlier rules": earlier,
    "Polygraphy": polygraphy,
}
"""The judges by name. Each takes the precision, the model, and the outputs of reference and engine."""
