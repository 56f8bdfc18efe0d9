"""Tolerances of an engine's outputs: the defaults of each precision with their origin, and the config's changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hil.results import Sense

if TYPE_CHECKING:
    from hil.config.spec import Precision, ToleranceSpec, TolerancesSpec

UNITS: Mapping[str, str] = {
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

# Each precision has an elementwise bound in addition to averages: cosine alone would pass an output that is ten times
# too large, an average alone one wrong sample in a hundred.
DEFAULTS: Mapping[Precision, Mapping[str, float]] = {
    "fp32": {"max_rel": 1e-4, "cosine": 0.99999},
    "tf32": {"max_rel": 1e-2, "cosine": 0.999},
    "fp16": {"max_rel": 1e-2, "cosine": 0.999},
    "bf16": {"max_rel": 5e-2, "cosine": 0.995},
    "int8": {"max_rel": 0.25, "cosine": 0.99, "sqnr_db": 15.0},
}

ORIGINS: Mapping[Precision, str] = {
    "fp32": "default: 4e-7 measured on ResNet-50, TensorRT 8.6 against ONNX Runtime, with room for other kernels",
    "tf32": "default: ten times the 1e-3 measured on ResNet-50, TensorRT 8.6",
    "fp16": "default: ten times the 1e-3 measured on ResNet-50, TensorRT 8.6; TensorRT's maintainers advise the same",
    "bf16": "default: 8 bits of significand instead of fp16's 11, so 8 times coarser where rounding dominates",
    "int8": "default: a cosine of 0.99 is an error of 14 % of the signal, 17 dB; 2 dB less for a change of scale",
}

TASK_DEFAULTS: Mapping[str, Mapping[Precision, float]] = {
    "top1_drop": dict.fromkeys(DEFAULTS, 0.01),
    "top5_drop": dict.fromkeys(DEFAULTS, 0.01),
    "map_drop": dict.fromkeys(DEFAULTS, 0.01),
    "miou_drop": dict.fromkeys(DEFAULTS, 0.01),
    "retrieval_drop": dict.fromkeys(DEFAULTS, 0.01),
    "error_increase": {"fp32": 0.01, "tf32": 0.02, "fp16": 0.02, "bf16": 0.05, "int8": 0.1},
}
"""The largest accepted loss of a task metric. A user's own score has no default, since its unit is not known."""

ANSWER_DEFAULTS: Mapping[str, float] = {"answers": 0.05, "score_drift": 0.05}
ANSWER_ORIGIN = "default: one answer in twenty"

TASK_ORIGIN = "default: a loss of one in a hundred is what int8 deployments commonly allow"

Where = Callable[..., str]
"""Returns where in the config a key below ``[models.NAME.tolerances.PRECISION]`` is: ``where("outputs", "logits")``."""


@dataclass(frozen=True)
class Tolerance:
    """The bound of one metric on one output; ``key`` is the config's key, ``None`` for a default."""

    metric: str
    value: float
    source: str
    key: str | None = None

    @property
    def sense(self) -> Sense:
        """The side of the bound on which a value has to be."""
        return Sense.AT_LEAST if self.metric in AT_LEAST else Sense.AT_MOST

    def met(self, value: float) -> bool:
        """Return whether ``value`` is within the bound; NaN never is."""
        return value >= self.value if self.sense is Sense.AT_LEAST else value <= self.value


def somewhere(*keys: str) -> str:
    """Return the key as text, such as ``tolerances max_rel``; the default for ``where`` if the config is not known."""
    return "tolerances " + ".".join(keys)


def merge(
    precision: Precision, spec: TolerancesSpec | None, output: str, *, exact: bool = False, where: Where = somewhere
) -> dict[str, Tolerance]:
    """Return the bounds of ``output`` by metric: the output's own, else the config's, else the precision's defaults.

    With ``exact``, for integers and booleans, only the output's own bounds count. Without any, no element may differ: a
    relative error of a class index means nothing.
    """
    table = spec.outputs.get(output) if spec is not None else None
    own = {} if table is None else _written(table, where, "outputs", output)
    if exact:
        return own or {"max_abs": Tolerance("max_abs", 0.0, "default: integers may not differ")}
    merged = {metric: Tolerance(metric, value, ORIGINS[precision]) for metric, value in DEFAULTS[precision].items()}
    if spec is not None:
        merged |= _written(spec, where)
    return merged | own


def answer_limits(
    spec: TolerancesSpec | None, outputs: Sequence[str], where: Where = somewhere
) -> dict[str, Tolerance]:
    """Return the bounds of the answers that are read from ``outputs``, by metric (a key of ``ANSWERS``).

    These are the outputs' own, of several the strictest, else the config's, else the defaults.
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


def in_force(precision: Precision, spec: TolerancesSpec | None, exact: Mapping[str, bool]) -> dict[str, Any]:
    """Return all tolerances in JSON types: the bounds of each output and the accepted losses of the task metrics.

    ``exact`` maps the model's outputs to whether they hold integers or booleans (``merge``).
    """
    outputs = {}
    for name, is_exact in exact.items():
        bounds = merge(precision, spec, name, exact=is_exact)
        table = None if spec is None else spec.outputs.get(name)
        for written_in in (spec, table):
            bounds |= {} if written_in is None else _written(written_in, somewhere, metrics=ANSWERS)
        outputs[name] = {"exact": is_exact, "bounds": {metric: one.value for metric, one in bounds.items()}}
    losses = {key: values[precision] for key, values in TASK_DEFAULTS.items()}
    own = {key: None if spec is None else getattr(spec, key) for key in (*TASK_DEFAULTS, "score_drop")}
    return {"outputs": outputs, "losses": losses | {key: value for key, value in own.items() if value is not None}}


def tightened(
    recorded: Mapping[str, Any], precision: Precision, spec: TolerancesSpec | None
) -> Iterator[tuple[str, float, float | None]]:
    """Yield each tolerance that is stricter in ``spec`` than in ``recorded`` (from ``in_force``).

    Yields its key, its value now, and the recorded value, which is ``None`` where there was no such bound. Raises
    ``KeyError``, ``TypeError``, ``ValueError`` or ``AttributeError`` if ``recorded`` is malformed.
    """
    outputs, losses = recorded["outputs"], recorded["losses"]
    new = {} if spec is None else dict.fromkeys(set(spec.outputs) - set(outputs), False)
    known = {name: bool(one["exact"]) for name, one in outputs.items()}
    now = in_force(precision, spec, {**known, **new})
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
