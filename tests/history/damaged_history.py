"""Run pytest with a history that is damaged before the run or during it, and return messages and report."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from tests.plugins.project import Project

if TYPE_CHECKING:
    from pathlib import Path

BEFORE, MEANWHILE = "before the run", "while it measured"
DAMAGES = {
    "no database": "file.write_bytes(b'no database, but long enough to be read' * 100)",
    "cut in half": "file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])",
    "read-only": "file.chmod(0o444); file.parent.chmod(0o555)",
}
"""Statements that damage ``file``, a history that contains a run."""

CASES = [(what, when) for what in DAMAGES for when in (BEFORE, MEANWHILE)]
PLUGIN = """
import pathlib
import sqlite3

def pytest_runtest_teardown():
    file = pathlib.Path("kept/history.db")
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    {damage}
"""
QUICK = ("--pyargs", "hil.suites", "-k", "signature", "--hil-history=sqlite:///kept/history.db", "-q")
# Without these capabilities, root obeys file permissions.
BOUND = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


def outcome_of_damage(folder: Path, what: str, when: str) -> dict[str, Any]:
    """Return exit code, messages and report status of a run whose history was damaged."""
    folder.mkdir(exist_ok=True)
    project = Project.make(folder)
    first = _run(project)
    if project.report() is None or not (folder / "kept" / "history.db").exists():
        raise RuntimeError(f"a healthy history could not be written: {first}")
    shutil.rmtree(folder / "report")
    if when == BEFORE:
        file = folder / "kept" / "history.db"
        exec(DAMAGES[what], {"file": file})  # noqa: S102 - one of the lines above
    else:
        (folder / "damaging.py").write_text(PLUGIN.format(damage=DAMAGES[what]), encoding="utf-8")
    try:
        code, out = _run(project, *(("-p", "damaging") if when == MEANWHILE else ()))
    finally:
        (folder / "kept").chmod(0o755)
    report = project.report()
    return {
        "case": f"{what}, {when}",
        "code": code,
        "messages": [
            line.replace(str(folder), "") for line in out.splitlines() if line.lower().startswith(("error: ", "! "))
        ],
        "traceback": "Traceback" in out,
        "report": None if report is None else report["status"],
    }


def _run(project: Project, *plugin: str) -> tuple[int, str]:
    before = BOUND if os.geteuid() == 0 else ()
    done = subprocess.run(
        [*before, *project.command(*plugin, *QUICK)],
        cwd=project.root,
        env=project.env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr
