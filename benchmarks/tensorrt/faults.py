"""Faults on the GPU, provoked by ``tests/gpu``: one clear verdict each, and a fresh worker for the next check.

The tests assert this; the benchmark runs them and stores the messages that a user would have read.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.tensorrt.peers import ROOT

if TYPE_CHECKING:
    from benchmarks.tensorrt.stage import Stage


def measure(stage: Stage) -> int:
    """Run the whole benchmark; return the exit code."""
    with stage.agent():
        pass  # only for the versions
    verdicts = stage.work / "faults.json"
    verdicts.unlink(missing_ok=True)
    environment = dict(os.environ, HIL_GPU_PYTHON=stage.python, HIL_GPU_FAULTS=str(verdicts))
    command = [sys.executable, "-m", "pytest", "tests/gpu/test_faults.py", "-v", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    rows: list[dict[str, Any]] = json.loads(verdicts.read_text(encoding="utf-8")) if verdicts.is_file() else []
    for row in rows:
        print(f"{row['fault']}: {row['verdict']}: {row['message']}")
    code = stage.keep("tensorrt-faults", rows)
    return code or int(done.returncode != 0)
