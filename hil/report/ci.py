"""What a pipeline shows of a report where it runs: GitHub's annotations and step summary, GitLab's code quality.

Whatever a config, a model or a board says is data here: it starts no command of a runner's.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil.report import view
from hil.report.shown_text import one_line
from hil.results import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hil.report.schema import Report
    from hil.results import CheckResult

CODE_QUALITY = "gl-code-quality.json"
MOST_A_LEVEL = 10
"""GitHub shows ten errors and ten warnings a step (its documentation, "Limitations"); the rest is counted."""
LONGEST, LONGEST_TITLE = 1000, 200
LINE = re.compile(r"(?P<name>[^\s:]+):(?P<line>[1-9]\d{0,6})(?:\s|$)")
"""How a limit's source names a place: ``hil.toml:31 limits``."""
LEVEL = {Verdict.FAILED: "error", Verdict.INCONCLUSIVE: "error", Verdict.NOT_RUN: "error", Verdict.WARNED: "warning"}
SEVERITY = {
    Verdict.FAILED: "critical",
    Verdict.INCONCLUSIVE: "major",
    Verdict.NOT_RUN: "major",
    Verdict.WARNED: "minor",
}


def announce(
    report: Report, folder: Path, config: Path | None, environ: Mapping[str, str], tell: Callable[[str], None]
) -> None:
    """Tells the CI system that ``environ`` names, if it names one; ``tell`` writes a line to its log.

    ``config`` is the run's ``hil.toml``. What cannot be written is told and decides nothing.
    """
    try:
        if environ.get("GITHUB_ACTIONS") == "true":
            path = _inside(config, environ.get("GITHUB_WORKSPACE"))
            for line in github(report, path):
                tell(line)
            _append(environ.get("GITHUB_STEP_SUMMARY"), folder / "summary.md")
        if environ.get("GITLAB_CI") == "true":
            found = code_quality(report, _inside(config, environ.get("CI_PROJECT_DIR")) or "hil.toml")
            (folder / CODE_QUALITY).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        tell(f"warning: what the pipeline shows could not be written: {error.strerror}: {error.filename}")


@contextmanager
def quoted(environ: Mapping[str, str], tell: Callable[[str], None]) -> Iterator[None]:
    """Has GitHub's runner take what is written meanwhile as text: a line of somebody's reason may begin with ``::``."""
    if environ.get("GITHUB_ACTIONS") != "true":
        yield
        return
    token = secrets.token_hex(16)
    tell(f"::stop-commands::{token}")
    try:
        yield
    finally:
        tell(f"::{token}::")


def github(report: Report, path: str | None) -> Iterator[str]:
    """Workflow commands, worst first: one a trouble, at the limit's own line of ``path`` where that is known."""
    counts = {"error": 0, "warning": 0}
    for trouble in view.troubles(report):
        check = trouble.first
        level = LEVEL[check.verdict]
        counts[level] += 1
        if counts[level] > MOST_A_LEVEL - 1:
            continue
        title = f"{view.WORD[check.verdict]}: {_whose(trouble)}"
        yield _command(level, title, _message(check), path, _line(check, path))
    for level, number in counts.items():
        left = number - (MOST_A_LEVEL - 1)
        if left > 0:
            yield _command(level, f"{left} more", "see report.html and summary.md", None, None)
    if report.rejected:
        rows = ", ".join(row.id for row in report.rejected)
        yield _command("error", f"{len(report.rejected)} rejected results", rows, None, None)


def _whose(trouble: view.Trouble) -> str:
    more = len(trouble.checks) - 1
    return trouble.first.name + (f" and {more} more" if more else "")


def _message(check: CheckResult) -> str:
    return "\n".join([check.reason, *(f"Next: {step}" for step in view.next_steps(check))])


def _command(level: str, title: str, message: str, path: str | None, line: int | None) -> str:
    given = {
        "file": path and one_line(path, LONGEST),
        "line": line if path else None,
        "title": one_line(title, LONGEST_TITLE),
    }
    parts = ",".join(f"{key}={_property(str(value))}" for key, value in given.items() if value is not None)
    lines = "\n".join(one_line(each, LONGEST) for each in message.split("\n"))
    return f"::{level} {parts}::{_data(lines)}"


def _data(text: str) -> str:
    """As ``@actions/core`` escapes a command's data (packages/core/src/command.ts)."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """As ``@actions/core`` escapes a command's property."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def code_quality(report: Report, path: str) -> list[dict[str, Any]]:
    """GitLab's code quality report: an entry a row that did not pass, with a fingerprint that outlives the run."""
    rows = (check for trouble in view.troubles(report) for check in trouble.checks)
    return [
        {
            "description": one_line(f"{check.name}: {check.reason}", LONGEST),
            "check_name": check.id,
            "fingerprint": hashlib.sha256("\0".join(("hil", *check.key)).encode()).hexdigest(),
            "severity": SEVERITY[check.verdict],
            "location": {"path": path, "lines": {"begin": _line(check, path) or 1}},
        }
        for check in rows
    ]


def _line(check: CheckResult, path: str | None) -> int | None:
    """The line of ``path`` that the row's limit stands in, where its source names that very file."""
    found = LINE.match(check.limit.source) if check.limit is not None else None
    if found is None or path is None or Path(found["name"]).name != Path(path).name:
        return None
    return int(found["line"])


def _inside(config: Path | None, root: str | None) -> str | None:
    """``config`` relative to the checkout, with slashes; None where it lies elsewhere."""
    if config is None or not root:
        return None
    found = Path(os.path.relpath(config.resolve(), Path(root).resolve()))
    return None if ".." in found.parts or found.is_absolute() else found.as_posix()


def _append(target: str | None, summary: Path) -> None:
    if target:
        with Path(target).open("a", encoding="utf-8") as file:
            file.write(summary.read_text(encoding="utf-8") + "\n")
