"""Define wording, signs and order of a report's facts, for the page, the summary and the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hil.report.parts.next_steps import cause_key, family, next_steps
from hil.report.shown_text import printable
from hil.results import CheckResult, Limit, Measurement, Sense, Verdict
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hil.report.schema import Report

SIGN = {
    Verdict.PASSED: "✓",
    Verdict.WARNED: "!",
    Verdict.FAILED: "✗",
    Verdict.INCONCLUSIVE: "?",
    Verdict.NOT_RUN: "–",
}
WORD = {verdict: verdict.value.replace("_", " ") for verdict in Verdict}
WORST_FIRST = (Verdict.FAILED, Verdict.INCONCLUSIVE, Verdict.NOT_RUN, Verdict.WARNED, Verdict.PASSED)
FAMILIES = ("contract", "parity", "sequence", "int8", "placement", "latency", "fps", "memory", "regression")
FIRST = (("latency.p99", "p99"), ("fps.sustained", ""), ("memory.peak", ""))
"""The measurements in the heading of a closed group, with their labels."""
MOST_NAMES = 12
"""How many rows of one trouble are named; the others are counted."""
GUESSES_NAMED = 3
"""How many guessed keys are named; the others are counted."""


@dataclass(frozen=True)
class Group:
    """All checks of one model in one precision, in the order of the plan."""

    model: str
    precision: str
    checks: tuple[CheckResult, ...]

    @property
    def title(self) -> str:
        """Model and precision, such as ``digits int8``; ``no model`` for user checks that belong to no model."""
        return " ".join(filter(None, (self.model, self.precision))) or "no model"

    @property
    def worst(self) -> Verdict:
        """The worst verdict of the group."""
        return worst(self.checks)

    def of(self, name: str) -> tuple[CheckResult, ...]:
        """Return the group's checks of the family ``name``; empty if there are none."""
        return tuple(check for check in self.checks if family(check) == name)


def worst(checks: Iterable[CheckResult]) -> Verdict:
    """Return the worst verdict by ``WORST_FIRST``; ``not_run`` if there are no checks."""
    verdicts = {check.verdict for check in checks}
    return next((verdict for verdict in WORST_FIRST if verdict in verdicts), Verdict.NOT_RUN)


def groups(report: Report) -> tuple[Group, ...]:
    """Return the checks grouped by model and precision, in the order of the plan."""
    by_model: dict[tuple[str, str], list[CheckResult]] = {}
    for check in report.checks:
        by_model.setdefault((check.model, check.precision), []).append(check)
    return tuple(Group(model, precision, tuple(checks)) for (model, precision), checks in by_model.items())


def families(report: Report) -> tuple[str, ...]:
    """Return the families of the report's checks: those of ``FAMILIES`` in its order, then the others as they occur."""
    present = dict.fromkeys(family(check) for check in report.checks)
    return (*(name for name in FAMILIES if name in present), *(name for name in present if name not in FAMILIES))


@dataclass(frozen=True)
class Trouble:
    """Rows that did not pass, all with the same verdict, cause, reason and next steps."""

    checks: tuple[CheckResult, ...]

    @property
    def first(self) -> CheckResult:
        """The first row; it represents all of them."""
        return self.checks[0]

    @property
    def size(self) -> int:
        """The number of rows."""
        return len(self.checks)

    @property
    def names(self) -> str:
        """The names of the rows: at most the first ``MOST_NAMES``, then the number of the others."""
        shown = ", ".join(check.name for check in self.checks[:MOST_NAMES])
        more = len(self.checks) - MOST_NAMES
        return f"{shown} and {more} more" if more > 0 else shown


def troubles(report: Report) -> tuple[Trouble, ...]:
    """Return the rows that did not pass, grouped as ``Trouble`` describes, worst first.

    Rows that were not run are included only if they are required; see ``left_aside`` for the others.
    """
    return _grouped(check for check in report.checks if check.required or check.verdict is not Verdict.NOT_RUN)


def left_aside(report: Report) -> tuple[Trouble, ...]:
    """Return the rows that were not run and are not required, grouped as ``Trouble`` describes."""
    return _grouped(check for check in report.checks if not check.required and check.verdict is Verdict.NOT_RUN)


def _grouped(checks: Iterable[CheckResult]) -> tuple[Trouble, ...]:
    by_reason: dict[tuple[Verdict, str | None, str, tuple[str, ...]], list[CheckResult]] = {}
    for check in checks:
        if check.verdict is not Verdict.PASSED:
            key = (check.verdict, cause_key(check), check.reason, next_steps(check))
            by_reason.setdefault(key, []).append(check)
    order = sorted(by_reason, key=lambda key: (WORST_FIRST.index(key[0]), not by_reason[key][0].required))
    return tuple(Trouble(tuple(by_reason[key])) for key in order)


def measured(report: Report) -> dict[tuple[str, str], dict[str, Measurement]]:
    """Return the measurements of each model and precision by check id, including those without a limit.

    Measurements that belong to no model are left out.
    """
    by_model: dict[tuple[str, str], dict[str, Measurement]] = {}
    for row in report.checks + report.measurements:
        if row.measurement is not None and row.model:
            by_model.setdefault((row.model, row.precision), {})[row.id] = row.measurement
    return by_model


def board_text(report: Report) -> str:
    """Return the Jetson module with its JetPack release and power mode, as far as known.

    For another machine, return the confirmed board (else the target's name) and the processor that did the work.
    """
    facts = report.target.facts
    identity = facts.get("identity")
    if isinstance(identity, dict):
        mode, jetpack = identity.get("power_mode"), identity.get("jetpack")
        parts = [identity.get("module") or report.target.board or report.target.used]
        parts += [f"JetPack {jetpack}"] if jetpack else []
        parts += [str(mode)] if mode else []
        return printable(", ".join(map(str, parts)))
    work = next((check.executed_on for check in report.checks if check.executed_on), None)
    name = work.name if work else ""
    return printable(", ".join(filter(None, (report.target.board or report.target.used, name))))


def worst_count_text(checks: Sequence[CheckResult]) -> str:
    """Return how many of ``checks`` have the worst verdict, such as ``3 of 7``; just ``7`` if all seven have it."""
    same = sum(check.verdict is worst(checks) for check in checks)
    return f"{same} of {len(checks)}" if same != len(checks) else str(len(checks))


def group_verdict_text(group: Group) -> str:
    """Return the group's worst verdict and how many rows have it, such as ``failed 2 of 25``."""
    return f"{WORD[group.worst]} {worst_count_text(group.checks)}"


def group_text(group: Group, measured: Mapping[tuple[str, str], Mapping[str, Measurement]]) -> str:
    """Return the group's main measurements and its number of checks."""
    values = measured.get((group.model, group.precision), {})
    parts = [f"{label} {value_text(values[name])}".strip() for name, label in FIRST if name in values]
    return " · ".join([*parts, f"{len(group.checks)} checks"])


def count_text(measurement: Measurement) -> str:
    """Return the number of samples as text; for a measurement of several runs also the number of runs."""
    runs = f", {len(measurement.runs)} runs" if measurement.runs else ""
    return f"n = {measurement.n:,}{runs}"


def reason_text(check: CheckResult) -> str:
    """Return the reason of a row; for a passed row, without the value, interval and limit that are shown next to it."""
    if check.verdict is not Verdict.PASSED or check.measurement is None or check.limit is None:
        return check.reason
    first, _, rest = check.reason.partition("; ")
    return rest if first.startswith(value_text(check.measurement)) else check.reason


def value_text(measurement: Measurement | None) -> str:
    """Return a value with its unit, such as ``4.11 ms``; a dash for ``None``."""
    return "–" if measurement is None else show(measurement.value, measurement.unit)


def interval_text(measurement: Measurement | None) -> str:
    """Return the confidence interval, such as ``4.02 ms to 4.38 ms at 99 %``; empty without an interval."""
    if measurement is None or (measurement.low is None and measurement.high is None):
        return ""
    low, high = ("…" if side is None else show(side, measurement.unit) for side in (measurement.low, measurement.high))
    level = "" if measurement.confidence is None else f" at {measurement.confidence * 100:.4g} %"
    return f"{low} to {high}{level}"


def limit_text(limit: Limit | None) -> str:
    """Return the limit, such as ``≤ 5 ms``; a dash for ``None``."""
    if limit is None:
        return "–"
    return f"{'≤' if limit.sense is Sense.AT_MOST else '≥'} {show(limit.value, limit.unit)}"


def evidence_text(report: Report) -> str:
    """Return the kinds of evidence of the report's checks, comma-separated; ``none`` if there are none."""
    kinds = sorted({check.evidence.value for check in report.checks if check.evidence})
    return ", ".join(kinds) or "none"


def target_text(report: Report) -> str:
    """Return the target that was used: ``cpu``, or ``cpu instead of jetson-orin`` after a fallback."""
    target = report.target
    return target.used if target.used == target.requested else f"{target.used} instead of {target.requested}"


def guessed_text(report: Report) -> str:
    """Return which keys of the run's ``hil.toml`` are guesses that nobody confirmed; empty if there are none."""
    guesses = [f"{model}: {key}" for model, keys in sorted(report.config.guessed.items()) for key in keys]
    more = [f"and {len(guesses) - GUESSES_NAMED} more"] if len(guesses) > GUESSES_NAMED else []
    return f"guessed and not confirmed: {'; '.join([*guesses[:GUESSES_NAMED], *more])}" if guesses else ""


def commit_text(report: Report) -> str:
    """Return the commit of the run, such as ``commit 4015b57a143a``, with the uncommitted files that the run used."""
    run = report.run
    if not run.commit:
        return "commit unknown"
    changes = {
        True: f", with uncommitted files: {', '.join(run.changed) or 'names unknown'}",
        False: "",
        None: ", uncommitted changes unknown",
    }
    return f"commit {run.commit[:12]}{changes[run.dirty]}"


def headline(report: Report) -> str:
    """Return the decision: PASSED, WARNED or FAILED. Without one: INCOMPLETE, or PARTIAL for a selection of tests."""
    return report.decision or report.status.upper()
