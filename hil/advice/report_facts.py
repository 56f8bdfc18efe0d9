"""What a piece of advice may stand on: one row's own details, and the same model's other rows of the same report."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hil.report.shown_text import one_line
from hil.results import Sense, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hil.report.schema import EngineUsed, Measured, ModelUsed, Report
    from hil.results import CheckResult, Measurement

LONGEST_NAME = 60
COARSER = {"fp32": 0, "tf32": 1, "bf16": 2, "fp16": 2, "int8": 3}
"""How few bits a precision has, by rank."""


@dataclass(frozen=True)
class Around:
    """A report, by what advice asks of it."""

    report: Report

    @cached_property
    def _rows(self) -> Mapping[tuple[str, str, str], CheckResult | Measured]:
        told: list[CheckResult | Measured] = [*self.report.measurements, *self.report.checks]
        return {(row.model, row.precision, row.id): row for row in told}

    @cached_property
    def _judged(self) -> Mapping[tuple[str, str, str], CheckResult]:
        return {(row.model, row.precision, row.id): row for row in self.report.checks}

    def judged(self, check: CheckResult, other: str, precision: str | None = None) -> CheckResult | None:
        """The row ``other`` of the same model, in ``precision`` or the row's own."""
        return self._judged.get((check.model, precision or check.precision, other))

    def measured(self, check: CheckResult, other: str, precision: str | None = None) -> Measurement | None:
        """What was measured for ``other`` of the same model, with a limit or without one."""
        row = self._rows.get((check.model, precision or check.precision, other))
        return None if row is None else row.measurement

    def details(self, check: CheckResult, other: str, precision: str | None = None) -> Mapping[str, Any]:
        """The details of ``other`` of the same model; empty without such a row."""
        row = self._rows.get((check.model, precision or check.precision, other))
        return {} if row is None else row.details

    def coarser(self, check: CheckResult) -> Iterator[str]:
        """The precisions of the same model with fewer bits than the row's, as planned."""
        rank = COARSER.get(check.precision)
        there = dict.fromkeys(row.precision for row in self.report.checks if row.model == check.model)
        if rank is not None:
            yield from (name for name in there if COARSER.get(name, -1) > rank)

    def engine(self, check: CheckResult, precision: str | None = None) -> EngineUsed | None:
        """The engine that was judged, of the row's precision or another."""
        key = (check.model, precision or check.precision)
        return next((one for one in self.report.engines if (one.model, one.precision) == key), None)

    def model(self, check: CheckResult) -> ModelUsed | None:
        """The model with its data."""
        return next((one for one in self.report.models if one.name == check.model), None)

    def method(self, check: CheckResult) -> Mapping[str, Any]:
        """How the row was measured; empty where nothing was."""
        return {} if check.measurement is None else self.report.methods.get(check.measurement.method, {})

    def environment(self, check: CheckResult) -> Mapping[str, Any]:
        """Where the row was measured; empty where nothing was."""
        return {} if check.measurement is None else self.report.environments.get(check.measurement.environment, {})

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the probed facts make the board: module, JetPack, versions; empty where it is no board."""
        return table(self.report.target.facts.get("identity"))


def number(value: Any) -> float | None:
    """A positive finite number, or none: what advice divides by or multiplies with."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        return None
    return float(value)


def table(value: Any) -> Mapping[str, Any]:
    """A table, or an empty one."""
    return value if isinstance(value, dict) else {}


def listed(value: Any) -> list[Mapping[str, Any]]:
    """The tables of a list; whatever else is in it is left out."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def named(value: Any) -> str:
    """Somebody else's name, safe and short enough for a sentence."""
    return one_line(str(value), LONGEST_NAME)


def deciding_value(check: CheckResult) -> float | None:
    """The end of the interval that a pass needs on the good side, or the value; positive or none."""
    seen, limit = check.measurement, check.limit
    if seen is None or limit is None:
        return None
    end = seen.high if limit.sense is Sense.AT_MOST else seen.low
    return number(seen.value if end is None else end)


def excess(check: CheckResult) -> float | None:
    """By which share what was measured must shrink (time, memory) to keep its limit; none where it keeps it.

    Of a rate: the share of the time of a frame.
    """
    bound, limit = deciding_value(check), check.limit
    if bound is None or limit is None or number(limit.value) is None:
        return None
    share = 1 - limit.value / bound if limit.sense is Sense.AT_MOST else 1 - bound / limit.value
    return share if share > 0 else None


def keeps(seen: Measurement | None, check: CheckResult) -> bool:
    """Whether another row's measurement would keep this row's limit, interval and all."""
    limit = check.limit
    if seen is None or limit is None or seen.unit != limit.unit:
        return False
    end = seen.high if limit.sense is Sense.AT_MOST else seen.low
    bound = seen.value if end is None else end
    return bound <= limit.value if limit.sense is Sense.AT_MOST else bound >= limit.value


def parity_of(around: Around, check: CheckResult, precision: str) -> str:
    """What is known of another precision's accuracy, as half a sentence; empty where it was not judged."""
    for name in ("parity.task", "parity.outputs"):
        row = around.judged(check, name, precision)
        if row is not None and row.verdict is not Verdict.NOT_RUN:
            return f" ({name} {row.verdict.value})"
    return ""
