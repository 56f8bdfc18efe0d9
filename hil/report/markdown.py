"""Write ``summary.md``: the report as a comment on a merge request, failures first."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hil.report import answers_view, engine_view, view
from hil.report.certainty import certainty_lines
from hil.report.parts import boards_view
from hil.report.parts.next_steps import cause_key, next_steps
from hil.report.shown_text import one_line
from hil.results import Verdict
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.report.schema import Report
    from hil.results import CheckResult

ICON = {
    Verdict.PASSED: "✅",
    Verdict.WARNED: "⚠️",
    Verdict.FAILED: "❌",
    Verdict.INCONCLUSIVE: "❓",
    Verdict.NOT_RUN: "⚪",
}
DECIDED = {"PASSED": "✅", "WARNED": "⚠️", "FAILED": "❌", "INCOMPLETE": "⏳", "PARTIAL": "⏳"}
NUMBERS = (
    ("latency.p50", "p50"),
    ("latency.p99", "p99"),
    ("fps.sustained", "FPS"),
    ("memory.peak", "memory"),
    ("memory.engine_size", "engine"),
    ("parity.task", "loss"),
    ("sequence.free_running", "error"),
)
MOST_TROUBLES = 30
MOST_TESTS = 10
MOST_ENGINES = 40
LONGEST = 400
MOST_LETTERS = 40_000
"""The most characters of the tables of all groups together. GitHub and GitLab cut or refuse comments above 65,536
characters."""
SPECIAL = re.compile(r"([\\`*_\[\]|~$])")
STARTS_A_BLOCK = re.compile(r"([-+=]|\d+[.)])(?=\s|$)")
JOINER = "\u2060"
"""An invisible character. After ``@`` and ``#`` it prevents mentions and issue links, which a backslash does not."""


def escape(text: str) -> str:
    """Return ``text`` on one line, cut to ``LONGEST`` characters, then with Markdown, HTML and mentions escaped."""
    line = SPECIAL.sub(r"\\\1", one_line(text, LONGEST)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = line.replace("@", "@" + JOINER).replace("#", "#" + JOINER)
    return JOINER + line if STARTS_A_BLOCK.match(line) else line


def render(report: Report) -> str:
    """Return the whole summary as GitHub-flavoured Markdown. Its only raw HTML is ``<details>`` and ``<summary>``."""
    parts = (_head, _troubles, _overview, _groups, _engines, _foot)
    return "\n".join(line for part in parts for line in part(report)) + "\n"


def _head(report: Report) -> Iterator[str]:
    word, totals = view.headline(report), report.totals
    yield f"## {DECIDED[word]} {word} on {escape(view.target_text(report))}"
    yield ""
    yield from (f"- {escape(reason)}" for reason in report.reasons)
    if report.target.fallback_reason:
        yield f"- fallback: {escape(report.target.fallback_reason)}"
    yield f"- {escape(view.commit_text(report))}"
    if foreign := engine_view.foreign_text(report):
        yield f"- {escape(foreign)}"
    guessed = view.guessed_text(report)
    if guessed and not any(guessed in reason for reason in report.reasons):
        yield f"- {escape(guessed)}"
    yield from (f"- {escape(line)}" for line in boards_view.unlike_lines(report))
    yield from (f"- {escape(line)}" for line in certainty_lines(report))
    yield f"- evidence: **{escape(view.evidence_text(report))}**, required: {escape(report.policy.evidence)}"
    yield ""
    names = [("planned", ""), *((verdict.value, ICON[verdict] + " ") for verdict in Verdict)]
    yield "| " + " | ".join(f"{icon}{name.replace('_', ' ')}" for name, icon in names) + " |"
    yield "|" + " ---: |" * len(names)
    yield "| " + " | ".join(str(getattr(totals, name)) for name, _ in names) + " |"
    yield ""


def _troubles(report: Report) -> Iterator[str]:
    rows, tests = view.troubles(report), report.run.failed_tests
    if not rows and not report.rejected and not tests:
        return
    yield "### What needs attention"
    yield ""
    for trouble in rows[:MOST_TROUBLES]:
        check, cause = trouble.first, cause_key(trouble.first)
        shown = f"{view.WORD[check.verdict]}{f', {cause}' if cause else ''}"
        yield f"- {ICON[check.verdict]} **{escape(trouble.names)}** ({escape(shown)}): {escape(check.reason)}"
        yield from (f"  - Next: {escape(step)}" for step in next_steps(check))
    if len(rows) > MOST_TROUBLES:
        yield f"- … and {len(rows) - MOST_TROUBLES} more: see report.html"
    yield from (f"- ❌ **{escape(test.test)}** (another test): {escape(test.message)}" for test in tests[:MOST_TESTS])
    for row in report.rejected[:MOST_TROUBLES]:
        name = " ".join(filter(None, (row.id, row.model, row.precision)))
        yield f"- ❌ **{escape(name)}** (rejected): {escape(row.reason)}"
    yield ""


def _overview(report: Report) -> Iterator[str]:
    """Yield a table of the main measurements, one row per model and precision, worst verdict first."""
    measured = view.measured(report)
    groups = sorted(view.groups(report), key=lambda group: view.WORST_FIRST.index(group.worst))
    shown = [name for name, _ in NUMBERS if any(name in values for values in measured.values())]
    if not groups or not shown:
        return
    yield "| model | verdict | " + " | ".join(title for name, title in NUMBERS if name in shown) + " |"
    yield "| :--- | :--- |" + " ---: |" * len(shown)
    for group in groups[:MOST_ENGINES]:
        values = measured.get((group.model, group.precision), {})
        cells = (escape(view.value_text(values.get(name))) for name in shown)
        verdict = f"{ICON[group.worst]} {view.group_verdict_text(group)}"
        yield f"| {escape(group.title)} | {verdict} | " + " | ".join(cells) + " |"
    if len(groups) > MOST_ENGINES:
        yield f"| … and {len(groups) - MOST_ENGINES} more |" + " |" * (len(shown) + 1)
    yield ""


def _groups(report: Report) -> Iterator[str]:
    groups = sorted(view.groups(report), key=lambda group: view.WORST_FIRST.index(group.worst))
    length = 0
    for number, group in enumerate(groups):
        lines = list(_group(group))
        length += sum(len(line) + 1 for line in lines)
        if length > MOST_LETTERS:
            yield f"… {len(groups) - number} of {len(groups)} tables are not shown: see report.html"
            yield ""
            return
        yield from lines


def _group(group: view.Group) -> Iterator[str]:
    worst = group.worst
    yield from ("<details><summary>", "")
    yield f"{ICON[worst]} **{escape(group.title)}**: {view.WORD[worst]} ({len(group.checks)} checks)"
    yield from ("", "</summary>", "")
    yield "| check | verdict | measured | limit | interval |"
    yield "| :--- | :--- | ---: | ---: | :--- |"
    yield from (_row(check) for check in group.checks)
    for check, rows in answers_view.tables(group):
        yield ""
        yield from (f"- {escape(check)}, answers of {escape(row.line)}" for row in rows)
    yield from ("", "</details>", "")


def _row(check: CheckResult) -> str:
    cells = (
        escape(check.id),
        f"{ICON[check.verdict]} {view.WORD[check.verdict]}",
        escape(view.value_text(check.measurement)),
        escape(view.limit_text(check.limit)),
        escape(view.interval_text(check.measurement)),
    )
    return "| " + " | ".join(cells) + " |"


def _engines(report: Report) -> Iterator[str]:
    if not report.engines:
        return
    yield from ("<details><summary>", "", "Engines that were judged", "", "</summary>", "")
    yield "| engine | runtime | SHA-256 | size | ran on |"
    yield "| :--- | :--- | :--- | ---: | :--- |"
    for engine in report.engines[:MOST_ENGINES]:
        name = f"{engine.model} {engine.precision}" + (" (foreign)" if engine.foreign else "")
        name += f" (built on {engine.built_on})" if engine.built_on else ""
        cells = (name, f"{engine.runtime} {engine.runtime_version}", engine.digest[:12], show(engine.size, "B"))
        yield "| " + " | ".join(map(escape, (*cells, engine_view.work_text(engine.executed_on)))) + " |"
    if len(report.engines) > MOST_ENGINES:
        yield f"| … and {len(report.engines) - MOST_ENGINES} more: see report.html | | | | |"
    yield from ("", "</details>", "")


def _foot(report: Report) -> Iterator[str]:
    run = report.run
    digests = f"config {report.config.digest[:12]}, report {report.digest[:12]}"
    yield f"hil {escape(run.hil_version)}, run {escape(run.id)}, {digests}"
