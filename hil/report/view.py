"""How a report's facts read to people: words, signs, order. Shared by page, summary and terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hil.report.shown_text import printable
from hil.results import CheckResult, Limit, Measurement, Sense, Verdict
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hil.report.schema import Measured, Report

SIGN = {
    Verdict.PASSED: "✓",
    Verdict.WARNED: "!",
    Verdict.FAILED: "✗",
    Verdict.INCONCLUSIVE: "?",
    Verdict.NOT_RUN: "–",
}
WORD = {verdict: verdict.value.replace("_", " ") for verdict in Verdict}
WORST_FIRST = (Verdict.FAILED, Verdict.INCONCLUSIVE, Verdict.NOT_RUN, Verdict.WARNED, Verdict.PASSED)
FAMILIES = ("contract", "parity", "int8", "placement", "latency", "fps", "memory", "regression")
EVIDENCE = {
    "device": "measured on the declared board",
    "emulated": "a declared stand-in for the board",
    "host": "this machine, as asked for: no declared board was confirmed",
    "cpu-fallback": "a board was asked for, the CPU was used",
}
NEXT = {
    "deselected": "run without -k, -m, --lf or node ids: what is deselected stays planned",
    "not_collected": "restore the test file, or run the whole suite",
    "out_of_scope": "run without --hil-model",
    "unsupported": "do what the reason says, or take the precision out of hil.toml for this target",
    "fallback": "make TARGET reachable as [targets.TARGET] in hil.toml says, or ask for another target",
    "crashed": "see the worker's last words above; run again with --hil-model and this test alone",
    "stopped": "mend what the reason says, and run again; without -x and --maxfail",
    "no_result": "let the test call hil_check.judge() once on every path",
    "no_limit": "write the limit into hil.toml, or take the check out of gate.require",
    "no_baseline": "do what the reason says: name a baseline that can be compared with, or make one",
}
FIRST = (("latency.p99", "p99"), ("fps.sustained", ""), ("memory.peak", ""))
"""What a folded group tells of itself."""
MOST_NAMES = 12
"""How many rows of one trouble are named; the rest is counted."""
HINT = {
    "parity.data": "give real validation data under [models.NAME] data, none of it used for training",
    "parity.task": "see which samples went wrong; a tolerance in hil.toml needs a reason beside it",
    "contract": "compare the engine's inputs and outputs with the model's: rebuild, or export again",
    "parity": "look at the worst output first; a tolerance in hil.toml needs a reason beside it",
    "int8.calibration_set": "mend the calibration data as the reason says; hil int8 audit shows it alone",
    "int8.ranges": "calibrate on data like that of validation, or by another method; hil int8 audit shows each tensor",
    "int8.repeatable": "remove the folder 'quantized' in the cache that hil.toml names, and calibrate again",
    "int8.disjoint": "draw calibration data from what validation never sees, e.g. from training data",
    "int8.drop": "rank the layers with hil int8 sensitivity, and keep the worst in float",
    "int8": "check the calibration data, or keep sensitive layers out with calibration.exclude_nodes",
    "placement": "see the layers in report.html; what a DLA or INT8 cannot do must change in the model, or the limit",
    "latency": "see the slowest nodes and the board's clocks; then the model, or the limit, must change",
    "fps": "see the slowest nodes and the board's clocks; then the model, or the target rate, must change",
    "memory": "reduce batch, workspace or model; the limit stands in hil.toml",
    "regression": "see what changed since the baseline (hil compare); if it is meant: hil accept",
}


@dataclass(frozen=True)
class Group:
    """All checks of one model in one precision, in the plan's order."""

    model: str
    precision: str
    checks: tuple[CheckResult, ...]

    @property
    def title(self) -> str:
        """``digits int8``; a user's own checks may belong to no model."""
        return " ".join(filter(None, (self.model, self.precision))) or "of no model"

    @property
    def worst(self) -> Verdict:
        """The verdict that a reader must see."""
        return worst(self.checks)

    def of(self, name: str) -> tuple[CheckResult, ...]:
        """The checks of one family."""
        return tuple(check for check in self.checks if family(check) == name)


def family(check: CheckResult) -> str:
    """``latency`` of ``latency.p99``."""
    return check.id.split(".", 1)[0]


def worst(checks: Iterable[CheckResult]) -> Verdict:
    """The verdict worth telling of several; a row that did not run hides behind those that were judged bad."""
    seen = {check.verdict for check in checks}
    return next((verdict for verdict in WORST_FIRST if verdict in seen), Verdict.NOT_RUN)


def groups(report: Report) -> tuple[Group, ...]:
    """The checks by model and precision, in the order in which they were planned."""
    found: dict[tuple[str, str], list[CheckResult]] = {}
    for check in report.checks:
        found.setdefault((check.model, check.precision), []).append(check)
    return tuple(Group(model, precision, tuple(checks)) for (model, precision), checks in found.items())


def families(report: Report) -> tuple[str, ...]:
    """The families that are there: the stock ones in their order, then the users' own."""
    seen = dict.fromkeys(family(check) for check in report.checks)
    return (*(name for name in FAMILIES if name in seen), *(name for name in seen if name not in FAMILIES))


@dataclass(frozen=True)
class Trouble:
    """Rows that did not pass for one and the same reason."""

    checks: tuple[CheckResult, ...]

    @property
    def first(self) -> CheckResult:
        """The row that stands for all."""
        return self.checks[0]

    @property
    def names(self) -> str:
        """The rows by name; of many the first few."""
        shown = ", ".join(check.name for check in self.checks[:MOST_NAMES])
        more = len(self.checks) - MOST_NAMES
        return f"{shown} and {more} more" if more > 0 else shown


def troubles(report: Report) -> tuple[Trouble, ...]:
    """What did not pass, worst first; of the rows that were not run only those that are required."""
    found: dict[tuple[Verdict, str | None, str, tuple[str, ...]], list[CheckResult]] = {}
    for check in report.checks:
        if check.verdict is not Verdict.PASSED and (check.required or check.verdict is not Verdict.NOT_RUN):
            key = (check.verdict, cause_key(check), check.reason, next_steps(check))
            found.setdefault(key, []).append(check)
    order = sorted(found, key=lambda key: (WORST_FIRST.index(key[0]), not found[key][0].required))
    return tuple(Trouble(tuple(found[key])) for key in order)


def cause_key(check: CheckResult) -> str | None:
    """The cause in the report's own word, if the row was not run."""
    return check.cause.value if check.cause else None


def measured(report: Report) -> dict[tuple[str, str], dict[str, Measurement]]:
    """The measurements of each model and precision by check id, those without a limit included."""
    found: dict[tuple[str, str], dict[str, Measurement]] = {}
    rows: list[CheckResult | Measured] = [*report.checks, *report.measurements]
    for row in rows:
        if row.measurement is not None and row.model:
            found.setdefault((row.model, row.precision), {})[row.id] = row.measurement
    return found


def next_steps(check: CheckResult) -> tuple[str, ...]:
    """What to do about a row that did not pass: what its own measurements advise, or what helps its like."""
    return check.advice or (next_step(check),)


def next_step(check: CheckResult) -> str:
    """What helps rows of this kind; said where nothing particular is known."""
    cause = cause_key(check)
    if cause in NEXT:
        return NEXT[cause].replace("TARGET", check.target.requested)
    if check.verdict is Verdict.INCONCLUSIVE:
        if family(check) == "placement":
            return "the inspector does not show enough: see the layers in report.html, or take the limit out"
        if family(check) == "memory" and check.measurement is None and "not readable" in check.reason:
            return "see to it that the source of memory figures can be read on the target (docs/tensorrt.md)"
        return "measure longer ([measure] in hil.toml), or remove what disturbs the target"
    return HINT.get(check.id) or HINT.get(family(check), "see the test that made this check")


def board_text(report: Report) -> str:
    """What the work was done on: the confirmed board or GPU, its JetPack and power mode; else the machine's name."""
    facts = report.target.facts
    known = facts.get("identity")
    if isinstance(known, dict):
        mode, jetpack = known.get("power_mode"), known.get("jetpack")
        told = [known.get("module") or report.target.board or report.target.used]
        told += [f"JetPack {jetpack}"] if jetpack else []
        told += [str(mode)] if mode else []
        return printable(", ".join(map(str, told)))
    work = next((check.executed_on for check in report.checks if check.executed_on), None)
    name = work.name if work else ""
    return printable(", ".join(filter(None, (report.target.board or report.target.used, name))))


def of_how_many(checks: Sequence[CheckResult]) -> str:
    """``3 of 7`` that have the worst verdict of all, or just how many there are."""
    same = sum(check.verdict is worst(checks) for check in checks)
    return f"{same} of {len(checks)}" if same != len(checks) else str(len(checks))


def of_worst(group: Group) -> str:
    """``failed 2 of 25``: the group's verdict and how many rows have it."""
    return f"{WORD[group.worst]} {of_how_many(group.checks)}"


def group_text(group: Group, taken: Mapping[tuple[str, str], Mapping[str, Measurement]]) -> str:
    """The numbers that a reader looks for first, and how many checks there are."""
    values = taken.get((group.model, group.precision), {})
    told = [f"{words} {value_text(values[name])}".strip() for name, words in FIRST if name in values]
    return " · ".join([*told, f"{len(group.checks)} checks"])


def count_text(measurement: Measurement) -> str:
    """How many samples, and of how many runs."""
    runs = f", {len(measurement.runs)} runs" if measurement.runs else ""
    return f"n = {measurement.n:,}{runs}"


def reason_text(check: CheckResult) -> str:
    """The reason of a row, without what number, interval and limit beside it say already."""
    if check.verdict is not Verdict.PASSED or check.measurement is None or check.limit is None:
        return check.reason
    first, _, rest = check.reason.partition("; ")
    return rest if first.startswith(value_text(check.measurement)) else check.reason


def value_text(measurement: Measurement | None) -> str:
    """``4.11 ms``, or a dash."""
    return "–" if measurement is None else show(measurement.value, measurement.unit)


def interval_text(measurement: Measurement | None) -> str:
    """``4.02 ms … 4.38 ms at 99 %``; nothing without an interval."""
    if measurement is None or (measurement.low is None and measurement.high is None):
        return ""
    low, high = ("…" if side is None else show(side, measurement.unit) for side in (measurement.low, measurement.high))
    sure = "" if measurement.confidence is None else f" at {measurement.confidence * 100:.4g} %"
    return f"{low} to {high}{sure}"


def limit_text(limit: Limit | None) -> str:
    """``≤ 5 ms``, or a dash."""
    if limit is None:
        return "–"
    return f"{'≤' if limit.sense is Sense.AT_MOST else '≥'} {show(limit.value, limit.unit)}"


def evidence_text(report: Report) -> str:
    """The kinds of evidence that the checks of this report stand on."""
    kinds = sorted({check.evidence.value for check in report.checks if check.evidence})
    return ", ".join(kinds) or "none"


def target_text(report: Report) -> str:
    """``cpu``, or ``cpu instead of jetson-orin``."""
    target = report.target
    return target.used if target.used == target.requested else f"{target.used} instead of {target.requested}"


def commit_text(report: Report) -> str:
    """``commit 4015b57a143a``, and what the run used beside it."""
    run = report.run
    if not run.commit:
        return "commit unknown"
    beside = {
        True: f", and files that are not its: {', '.join(run.changed) or 'which ones is unknown'}",
        False: "",
        None: ", whether anything else was used is unknown",
    }
    return f"commit {run.commit[:12]}{beside[run.dirty]}"


def headline(report: Report) -> str:
    """The decision in one word: PASSED, WARNED, FAILED or INCOMPLETE."""
    return report.decision or "INCOMPLETE"
