"""Tolerances of an engine's outputs: the defaults of each precision with their origin, and the config's changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.dtypes import is_float
from hil.results import Sense

if TYPE_CHECKING:
    from hil.config.spec import Precision, ToleranceSpec, TolerancesSpec

UNITS: Mapping[str, str] = {
    "slice_error": "1",
    "max_abs": "",
    "max_rel": "1",
    "rmse": "",
    "cosine": "",
    "sqnr_db": "dB",
    "top1_agreement": "1",
}
"""The metrics of an output with their units. An empty string stands for the output's own unit, or for no unit."""

ANSWERS: Mapping[str, str] = {"answers": "1", "score_drift": "1"}
"""The metrics of the answers of outputs whose kind is declared, with their units."""

AT_LEAST = frozenset({"cosine", "sqnr_db", "top1_agreement"})

SLICE_ERRORS: Mapping[Precision, tuple[float, float]] = {
    "fp32": (2e-3, 0.05),
    "tf32": (0.03, 0.2),
    "fp16": (0.03, 0.2),
    "bf16": (0.06, 0.2),
    "int8": (0.1, 0.75),
    "fp8": (0.1, 0.75),
    "fp4": (0.1, 0.75),
    "int4": (0.1, 0.75),
}
"""Two errors of the worst slice: outputs pass up to the first, and fail beyond the second.

Both sound and broken engines have errors between the two, so that only a comparison of answers can decide. FP8, FP4 and
INT4 have the values of INT8: no engine of these types was measured, and a robot that accepts an error accepts it
whatever the type.
"""

UNMEASURED = ("fp8", "fp4", "int4")
"""The precisions whose default tolerances are those of INT8, for lack of measured engines."""

ORIGIN = "default: sound and broken engines both have errors between this and {fail_at:g}"
ORIGIN_OF_INT8 = "default of int8, as no engine in {precision} was measured: not decided up to {fail_at:g}"

DRAWN: Mapping[Precision, float] = {
    "fp32": 1e-4,
    "tf32": 1e-2,
    "fp16": 1e-2,
    "bf16": 5e-2,
    "int8": 0.25,
    "fp8": 0.25,
    "fp4": 0.25,
    "int4": 0.25,
}
"""The default ``max_rel`` for drawn inputs, which are too few samples to measure the scale of each slice."""

TASK_DEFAULTS: Mapping[str, Mapping[Precision, float]] = {
    "top1_drop": dict.fromkeys(SLICE_ERRORS, 0.01),
    "top5_drop": dict.fromkeys(SLICE_ERRORS, 0.01),
    "map_drop": dict.fromkeys(SLICE_ERRORS, 0.01),
    "miou_drop": dict.fromkeys(SLICE_ERRORS, 0.01),
    "retrieval_drop": dict.fromkeys(SLICE_ERRORS, 0.01),
    "error_increase": {
        "fp32": 0.01,
        "tf32": 0.02,
        "fp16": 0.02,
        "bf16": 0.05,
        "int8": 0.1,
        "fp8": 0.1,
        "fp4": 0.1,
        "int4": 0.1,
    },
}
"""The largest accepted loss of a task metric. A user's own score has no default, since its unit is not known."""

EXACT = "default: integers may not differ"
CLASSES = "for classes, declare the output's kind ([models.NAME.outputs.OUTPUT] kind), so that answers are compared"

ANSWER_DEFAULTS: Mapping[str, float] = {"answers": 0.05, "score_drift": 0.05}
ANSWER_ORIGIN = "default: one answer in twenty"

TASK_ORIGIN = "default: a loss of one in a hundred is what int8 deployments commonly allow"

Where = Callable[..., str]
"""Returns where in the config a key below ``[models.NAME.tolerances.PRECISION]`` is: ``where("outputs", "logits")``."""


@dataclass(frozen=True)
class Tolerance:
    """The bound of one metric on one output; ``key`` is the config's key, ``None`` for a default.

    Between ``value`` and ``fail_at`` a metric neither passes nor fails; a ``fail_at`` of ``None`` equals ``value``.
    """

    metric: str
    value: float
    source: str
    key: str | None = None
    fail_at: float | None = None

    @property
    def sense(self) -> Sense:
        """Whether a value must be at least or at most the bound."""
        return Sense.AT_LEAST if self.metric in AT_LEAST else Sense.AT_MOST

    def met(self, value: float) -> bool:
        """Return whether ``value`` is within the bound; NaN never is."""
        return value >= self.value if self.sense is Sense.AT_LEAST else value <= self.value


def somewhere(*keys: str) -> str:
    """Return the key as text, such as ``tolerances max_rel``; the default for ``where`` if the config is not known."""
    return "tolerances " + ".".join(keys)


def merge(
    precision: Precision, spec: TolerancesSpec | None, output: str, *, dtype: str = "float32", where: Where = somewhere
) -> dict[str, Tolerance]:
    """Return the bounds of ``output`` by metric: the output's own, else the config's, else the precision's defaults.

    For integers and booleans (``dtype``) only the output's own bounds count; without any, no element may differ. If
    a float type is coarser than ``precision``, the default is at least that of its own rounding (``rounding_of``), and
    ``fail_at`` at least that of fp16.
    """
    table = spec.outputs.get(output) if spec is not None else None
    own = {} if table is None else _written(table, where, "outputs", output)
    if not is_float(np.dtype(dtype)):
        return own or {"max_abs": Tolerance("max_abs", 0.0, EXACT)}
    value, fail_at = SLICE_ERRORS[precision]
    coarse = rounding_of(dtype)
    if coarse != "fp32":
        value, fail_at = max(value, SLICE_ERRORS[coarse][0]), max(fail_at, SLICE_ERRORS["fp16"][1])
    origin = (ORIGIN_OF_INT8 if precision in UNMEASURED else ORIGIN).format(fail_at=fail_at, precision=precision)
    merged = {"slice_error": Tolerance("slice_error", value, origin, fail_at=fail_at)}
    if spec is not None:
        merged |= _written(spec, where)
    return merged | own


def answer_limits(
    spec: TolerancesSpec | None, outputs: Sequence[str], where: Where = somewhere
) -> dict[str, Tolerance]:
    """Return the bounds of the answers that are read from ``outputs``, by metric (a key of ``ANSWERS``).

    The strictest bound that the config has for one of these outputs counts, else the config's for all outputs, else the
    default.
    """
    limits = {metric: Tolerance(metric, value, ANSWER_ORIGIN) for metric, value in ANSWER_DEFAULTS.items()}
    if spec is None:
        return limits
    limits |= _written(spec, where, metrics=ANSWERS)
    tables = ((name, spec.outputs[name]) for name in outputs if name in spec.outputs)
    own = [
        tolerance
        for name, table in tables
        for tolerance in _written(table, where, "outputs", name, metrics=ANSWERS).values()
    ]
    return limits | {one.metric: one for one in sorted(own, key=lambda one: -one.value)}


def rounding_of(dtype: str) -> Precision:
    """Return the precision that rounds like the float type ``dtype``: fp32 for float64, int8 for 8 bits or less."""
    if dtype in {"float32", "float64"}:
        return "fp32"
    return {"float16": "fp16", "bfloat16": "bf16"}.get(dtype, "int8")  # type: ignore[return-value]  # names of precisions


def in_force(
    precision: Precision, spec: TolerancesSpec | None, dtypes: Mapping[str, str], answered: Collection[str] = ()
) -> dict[str, Any]:
    """Return all tolerances in JSON types: the bounds of each output and the accepted losses of the task metrics.

    ``dtypes`` maps the model's outputs to the names of their types (``merge``). Outputs in ``answered`` have the limits
    of answers, and other limits only where the config has them.
    """
    outputs = {}
    for name, dtype in dtypes.items():
        bounds = merge(precision, spec, name, dtype=dtype)
        if name in answered:
            bounds = {metric: one for metric, one in bounds.items() if one.key is not None}
            bounds |= answer_limits(spec, [name])
        values = {metric: one.value for metric, one in bounds.items()}
        exact, answers = not is_float(np.dtype(dtype)), name in answered
        outputs[name] = {"exact": exact, "dtype": dtype, "answered": answers, "bounds": values}
    losses = {key: values[precision] for key, values in TASK_DEFAULTS.items()}
    own = {key: None if spec is None else getattr(spec, key) for key in (*TASK_DEFAULTS, "score_drop")}
    return {"outputs": outputs, "losses": losses | {key: value for key, value in own.items() if value is not None}}


def tightened(
    recorded: Mapping[str, Any], precision: Precision, spec: TolerancesSpec | None
) -> Iterator[tuple[str, float, float | None]]:
    """Yield each tolerance that is stricter in ``spec`` than in ``recorded``, which an earlier ``in_force`` returned.

    Yields its key, its value now, and the recorded value (``None`` if there was no such bound). Raises ``KeyError``,
    ``TypeError``, ``ValueError`` or ``AttributeError`` if ``recorded`` is malformed.
    """
    outputs, losses = recorded["outputs"], recorded["losses"]
    new = {} if spec is None else dict.fromkeys(set(spec.outputs) - set(outputs), "float32")
    # Reports without types are older than tolerances that depend on more than "exact".
    known = {name: str(one.get("dtype", "int64" if one["exact"] else "float32")) for name, one in outputs.items()}
    now = in_force(precision, spec, {**known, **new}, [name for name, one in outputs.items() if one.get("answered")])
    for name, one in now["outputs"].items():
        then = outputs[name]["bounds"] if name in outputs else {}
        for metric, value in one["bounds"].items():
            if metric not in then or _less(metric, value, float(then[metric])):
                yield f"outputs.{name}.{metric}", value, then.get(metric)
    for key, value in now["losses"].items():
        if key not in losses or value < float(losses[key]):
            yield key, value, losses.get(key)


def _less(metric: str, now: float, then: float) -> bool:
    """Return whether ``now`` is stricter than ``then``."""
    return now > then if metric in AT_LEAST else now < then


def written(spec: TolerancesSpec | None) -> set[str]:
    """Return the keys of all bounds on outputs that the config has, as in ``Tolerance.key``.

    An empty table of an output is returned as ``outputs.NAME``.
    """
    if spec is None:
        return set()
    everything = {**UNITS, **ANSWERS}
    tables = {
        name: _written(table, somewhere, "outputs", name, metrics=everything) for name, table in spec.outputs.items()
    }
    own = {t.key for table in tables.values() for t in table.values()}
    everywhere = {t.key for t in _written(spec, somewhere, metrics=everything).values()}
    empty = {f"outputs.{name}" for name, table in tables.items() if not table}
    return {key for key in own | everywhere if key is not None} | empty


def _written(table: ToleranceSpec, where: Where, *prefix: str, metrics: Iterable[str] = UNITS) -> dict[str, Tolerance]:
    values = {metric: getattr(table, metric) for metric in metrics}
    return {
        metric: Tolerance(metric, float(value), where(*prefix, metric), ".".join((*prefix, metric)))
        for metric, value in values.items()
        if value is not None
    }
