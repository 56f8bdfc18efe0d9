"""Write what CI systems show of a report: GitHub's annotations and step summary, GitLab's code quality report."""

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
from hil.report.parts.next_steps import next_steps
from hil.report.shown_text import one_line
from hil.results import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hil.report.schema import Report
    from hil.results import CheckResult

CODE_QUALITY = "gl-code-quality.json"
MOST_A_LEVEL = 10
"""The maximum number of annotations of each level: GitHub shows ten errors and ten warnings for a step (its
documentation, "Limitations"). If there are ten or more, the tenth states how many are left out."""
LONGEST, LONGEST_TITLE = 1000, 200
LINE = re.compile(r"(?P<name>[^\s:]+):(?P<line>[1-9]\d{0,6})(?:\s|$)")
"""The file name and line number at the start of a limit's source, such as ``hil.toml:31 limits``."""
LEVEL = {Verdict.FAILED: "error", Verdict.INCONCLUSIVE: "error", Verdict.NOT_RUN: "error", Verdict.WARNED: "warning"}
SEVERITY = {
    Verdict.FAILED: "critical",
    Verdict.INCONCLUSIVE: "major",
    Verdict.NOT_RUN: "major",
    Verdict.WARNED: "minor",
}


def announce(
    report: Report, folder: Path, config: Path | None, environ: Mapping[str, str], write_line: Callable[[str], None]
) -> None:
    """Write the report's results for GitHub Actions or GitLab CI, if ``environ`` names one; otherwise do nothing.

    ``folder`` is the report's folder, ``config`` the run's ``hil.toml``. ``write_line`` writes one line to the CI log.
    """
    try:
        if environ.get("GITHUB_ACTIONS") == "true":
            path = _inside(config, environ.get("GITHUB_WORKSPACE"))
            for line in github(report, path):
                write_line(line)
            _append(environ.get("GITHUB_STEP_SUMMARY"), folder / "summary.md")
        if environ.get("GITLAB_CI") == "true":
            entries = code_quality(report, _inside(config, environ.get("CI_PROJECT_DIR")) or "hil.toml")
            (folder / CODE_QUALITY).write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        write_line(f"warning: the results for the CI system could not be written: {error.strerror}: {error.filename}")


@contextmanager
def workflow_commands_off(environ: Mapping[str, str], write_line: Callable[[str], None]) -> Iterator[None]:
    """Switch off GitHub's workflow commands within the ``with`` block; do nothing on other systems.

    A reason may contain a line that begins with ``::``, which GitHub's runner would otherwise execute.
    """
    if environ.get("GITHUB_ACTIONS") != "true":
        yield
        return
    token = secrets.token_hex(16)
    write_line(f"::stop-commands::{token}")
    try:
        yield
    finally:
        write_line(f"::{token}::")


def github(report: Report, path: str | None) -> Iterator[str]:
    """Yield GitHub workflow commands for the groups of rows in ``view.troubles``, worst first, and rejected results.

    Each level (error, warning) has at most ``MOST_A_LEVEL`` commands for groups. The last command of a level states how
    many groups are left out. A command names the line of the row's limit in the config ``path``, which is relative to
    the checkout.
    """
    counts = {"error": 0, "warning": 0}
    for trouble in view.troubles(report):
        check = trouble.first
        level = LEVEL[check.verdict]
        counts[level] += 1
        if counts[level] > MOST_A_LEVEL - 1:
            continue
        title = f"{view.WORD[check.verdict]}: {_row_names(trouble)}"
        yield _command(level, title, _message(check), path, _line(check, path))
    for level, number in counts.items():
        omitted = number - (MOST_A_LEVEL - 1)
        if omitted > 0:
            yield _command(level, f"{omitted} more", "see report.html and summary.md", None, None)
    if report.rejected:
        rows = ", ".join(row.id for row in report.rejected)
        yield _command("error", f"{len(report.rejected)} rejected results", rows, None, None)


def _row_names(trouble: view.Trouble) -> str:
    more = len(trouble.checks) - 1
    return trouble.first.name + (f" and {more} more" if more else "")


def _message(check: CheckResult) -> str:
    return "\n".join([check.reason, *(f"Next: {step}" for step in next_steps(check))])


def _command(level: str, title: str, message: str, path: str | None, line: int | None) -> str:
    properties = {
        "file": path and one_line(path, LONGEST),
        "line": line if path else None,
        "title": one_line(title, LONGEST_TITLE),
    }
    parts = ",".join(f"{key}={_property(str(value))}" for key, value in properties.items() if value is not None)
    lines = "\n".join(one_line(each, LONGEST) for each in message.split("\n"))
    return f"::{level} {parts}::{_data(lines)}"


def _data(text: str) -> str:
    """Return ``text`` escaped as ``@actions/core`` escapes a command's data (packages/core/src/command.ts)."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Return ``text`` escaped as ``@actions/core`` escapes a command's property."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def code_quality(report: Report, path: str) -> list[dict[str, Any]]:
    """Return GitLab's code quality report: one entry for each row in ``view.troubles``.

    An entry names the line of the row's limit in the config ``path``; line 1 if it is unknown. The fingerprint of a row
    is the same in every run.
    """
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
    """Return the line of ``path`` where the row's limit is written; ``None`` if it is unknown or in another file."""
    match = LINE.match(check.limit.source) if check.limit is not None else None
    if match is None or path is None or Path(match["name"]).name != Path(path).name:
        return None
    return int(match["line"])


def _inside(config: Path | None, root: str | None) -> str | None:
    """Return the path of ``config`` relative to the checkout ``root``, with slashes; ``None`` if it lies outside."""
    if config is None or not root:
        return None
    relative = Path(os.path.relpath(config.resolve(), Path(root).resolve()))
    return None if ".." in relative.parts or relative.is_absolute() else relative.as_posix()


def _append(target: str | None, summary: Path) -> None:
    if target:
        with Path(target).open("a", encoding="utf-8") as file:
            file.write(summary.read_text(encoding="utf-8") + "\n")
