"""Several runs of ``python -m pytest`` in one process, which imports the libraries once; each has its own files."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.plugins.project import Project

DRIVER = """
import json, pathlib, runpy, sys
sys.dont_write_bytecode = True
request, codes, reports = json.load(sys.stdin), {}, {}
report = pathlib.Path("report/report.json")
green = report.read_bytes()
for name, files in request["runs"].items():
    report.write_bytes(green)
    for path, text in files.items():
        pathlib.Path(path).parent.mkdir(exist_ok=True)
        pathlib.Path(path).write_text(text)
    sys.argv = ["pytest", *request["args"]]
    try:
        runpy.run_module("pytest", run_name="__main__", alter_sys=True)
        codes[name] = "no SystemExit"
    except SystemExit as error:
        codes[name] = 0 if error.code is None else int(error.code)
    except BaseException as error:
        codes[name] = type(error).__name__
    document = json.loads(report.read_bytes())
    reports[name] = (document["status"], document["decision"])
    for path in map(pathlib.Path, files):
        path.unlink()
        sys.modules.pop(path.stem, None)
sys.stderr.write("\\nRESULT " + json.dumps([codes, reports]) + "\\n")
"""


def run_each(
    project: Project, runs: dict[str, dict[str, str]], *args: str
) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Return each run's exit code, its report's status and decision, and the output of all runs together.

    Each run has its own files (path: text) in the project and starts with the report that is there at the call.
    """
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        input=json.dumps({"runs": runs, "args": project.command(*args)[3:]}),
        cwd=project.root,
        env=project.env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    out = done.stdout + done.stderr
    assert "RESULT " in done.stderr, out
    codes, reports = json.loads(done.stderr.rsplit("RESULT ", 1)[1])
    return codes, {name: tuple(report) for name, report in reports.items()}, out
