"""Look up the facts that advice uses: a row's own details, and the other rows of its model in the same report."""

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
COARSER = {"fp32": 0, "tf32": 1, "bf16": 2, "fp16": 2, "int8": 3, "fp8": 3, "int4": 4, "fp4": 4}
"""Rank of each precision; a higher rank has fewer bits."""


@dataclass(frozen=True)
class Around:
    """A report with the lookups that advice needs. The parameter ``check`` is always the row to give advice on."""

    report: Report

    @cached_property
    def _rows(self) -> Mapping[tuple[str, str, str], CheckResult | Measured]:
        rows: list[CheckResult | Measured] = [*self.report.measurements, *self.report.checks]
        return {(row.model, row.precision, row.id): row for row in rows}

    @cached_property
    def _judged(self) -> Mapping[tuple[str, str, str], CheckResult]:
        return {(row.model, row.precision, row.id): row for row in self.report.checks}

    def judged(self, check: CheckResult, other: str, precision: str | None = None) -> CheckResult | None:
        """Return the judged row with the check id ``other`` and the model of ``check``; ``None`` without such a row.

        The row has the precision ``precision``; ``None`` stands for the precision of ``check``.
        """
        return self._judged.get((check.model, precision or check.precision, other))

    def measured(self, check: CheckResult, other: str, precision: str | None = None) -> Measurement | None:
        """Return the measurement of row ``other`` (see ``judged``), with or without a limit; ``None`` if unmeasured."""
        row = self._rows.get((check.model, precision or check.precision, other))
        return None if row is None else row.measurement

    def details(self, check: CheckResult, other: str, precision: str | None = None) -> Mapping[str, Any]:
        """Return the details of row ``other`` (see ``judged``), with or without a limit; empty without such a row."""
        row = self._rows.get((check.model, precision or check.precision, other))
        return {} if row is None else row.details

    def coarser(self, check: CheckResult) -> Iterator[str]:
        """Yield the planned precisions of the row's model that have fewer bits than the row's precision."""
        rank = COARSER.get(check.precision)
        planned = dict.fromkeys(row.precision for row in self.report.checks if row.model == check.model)
        if rank is not None:
            yield from (name for name in planned if COARSER.get(name, -1) > rank)

    def engine(self, check: CheckResult, precision: str | None = None) -> EngineUsed | None:
        """Return the engine of the row's model in ``precision`` (default: the row's); ``None`` without an engine."""
        key = (check.model, precision or check.precision)
        return next((engine for engine in self.report.engines if (engine.model, engine.precision) == key), None)

    def model(self, check: CheckResult) -> ModelUsed | None:
        """Return the report's entry of the row's model; ``None`` without such an entry."""
        return next((model for model in self.report.models if model.name == check.model), None)

    def method(self, check: CheckResult) -> Mapping[str, Any]:
        """Return the method of the row's measurement; empty without a measurement."""
        return {} if check.measurement is None else self.report.methods.get(check.measurement.method, {})

    def environment(self, check: CheckResult) -> Mapping[str, Any]:
        """Return the environment of the row's measurement; empty without a measurement."""
        return {} if check.measurement is None else self.report.environments.get(check.measurement.environment, {})

    @property
    def identity(self) -> Mapping[str, Any]:
        """Return the Jetson's module, JetPack and versions, as the probe read them; empty for another machine."""
        return table(self.report.target.facts.get("identity"))


def number(value: Any) -> float | None:
    """Return ``value`` as a float if it is a positive finite number, else ``None``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        return None
    return float(value)


def table(value: Any) -> Mapping[str, Any]:
    """Return ``value`` if it is a table, else an empty one."""
    return value if isinstance(value, dict) else {}


def listed(value: Any) -> list[Mapping[str, Any]]:
    """Return the items of the list ``value`` that are tables; an empty list if ``value`` is not a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def named(value: Any) -> str:
    """Return ``value``, a name from a report, as one line of printable text of at most ``LONGEST_NAME`` characters."""
    return one_line(str(value), LONGEST_NAME)


def deciding_value(check: CheckResult) -> float | None:
    """Return the number that must meet the limit: the worse end of the interval, or the value without an interval.

    Return ``None`` for a row without measurement or limit, and if the number is not positive.
    """
    measured, limit = check.measurement, check.limit
    if measured is None or limit is None:
        return None
    end = measured.high if limit.sense is Sense.AT_MOST else measured.low
    return number(measured.value if end is None else end)


def excess(check: CheckResult) -> float | None:
    """Return the share by which time or memory must shrink to meet the limit; ``None`` if the limit is met or unknown.

    For a frame rate, the result is the share by which the time of one frame must shrink.
    """
    bound, limit = deciding_value(check), check.limit
    if bound is None or limit is None or number(limit.value) is None:
        return None
    share = 1 - limit.value / bound if limit.sense is Sense.AT_MOST else 1 - bound / limit.value
    return share if share > 0 else None


def keeps(measured: Measurement | None, check: CheckResult) -> bool:
    """Return whether ``measured``, the measurement of another row, would meet the limit of ``check``.

    If ``measured`` has an interval, its worse end must meet the limit.
    """
    limit = check.limit
    if measured is None or limit is None or measured.unit != limit.unit:
        return False
    end = measured.high if limit.sense is Sense.AT_MOST else measured.low
    bound = measured.value if end is None else end
    return bound <= limit.value if limit.sense is Sense.AT_MOST else bound >= limit.value


def parity_of(around: Around, check: CheckResult, precision: str) -> str:
    """Return the accuracy verdict of ``precision``, such as ``" (parity.task passed)"``; empty if it was not judged."""
    for name in ("parity.task", "parity.outputs", "sequence.free_running"):
        row = around.judged(check, name, precision)
        if row is not None and row.verdict is not Verdict.NOT_RUN:
            return f" ({name} {row.verdict.value})"
    return ""
