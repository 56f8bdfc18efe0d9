"""A history that cannot be written, before a run begins or while it measures: what the run then says and keeps."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from tests.plugins.project import Project

if TYPE_CHECKING:
    from pathlib import Path

BEFORE, MEANWHILE = "before the run", "while it measured"
SPOILS = {
    "no database": "file.write_bytes(b'no database, but long enough to be read' * 100)",
    "cut in half": "file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])",
    "read-only": "file.chmod(0o444); file.parent.chmod(0o555)",
}
"""What is done to ``file``, a history with a run in it."""

CASES = [(what, when) for what in SPOILS for when in (BEFORE, MEANWHILE)]
PLUGIN = """
import pathlib
import sqlite3

def pytest_runtest_teardown():
    file = pathlib.Path("kept/history.db")
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    {spoil}
"""
QUICK = ("--pyargs", "hil.suites", "-k", "signature", "--hil-history=sqlite:///kept/history.db", "-q")
# Root may write whatever it likes, but for this.
BOUND = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


def spoiled(folder: Path, what: str, when: str) -> dict[str, Any]:
    """What a run came to: its exit code, its messages, and the report that is on disk afterwards."""
    folder.mkdir(exist_ok=True)
    project = Project.make(folder)
    first = _run(project)
    if project.report() is None or not (folder / "kept" / "history.db").exists():
        raise RuntimeError(f"a healthy history could not be written: {first}")
    shutil.rmtree(folder / "report")
    if when == BEFORE:
        file = folder / "kept" / "history.db"
        exec(SPOILS[what], {"file": file})  # noqa: S102 - one of the lines above
    else:
        (folder / "spoiling.py").write_text(PLUGIN.format(spoil=SPOILS[what]), encoding="utf-8")
    try:
        code, out = _run(project, *(("-p", "spoiling") if when == MEANWHILE else ()))
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


def _run(project: Project, *spoil: str) -> tuple[int, str]:
    before = BOUND if os.geteuid() == 0 else ()
    done = subprocess.run(
        [*before, *project.command(*spoil, *QUICK)],
        cwd=project.root,
        env=project.env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr
