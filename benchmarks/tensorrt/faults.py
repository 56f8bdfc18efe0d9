"""Faults on the GPU, provoked by ``tests/gpu``: one clear verdict each, and a fresh worker for the next check.

The tests hold what must be; this runs them and keeps the words that a user would have read.
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
    """The whole benchmark; the exit code."""
    with stage.agent():
        pass  # the versions
    heard = stage.work / "faults.json"
    heard.unlink(missing_ok=True)
    environment = dict(os.environ, HIL_GPU_PYTHON=stage.python, HIL_GPU_FAULTS=str(heard))
    command = [sys.executable, "-m", "pytest", "tests/gpu/test_faults.py", "-v", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    rows: list[dict[str, Any]] = json.loads(heard.read_text(encoding="utf-8")) if heard.is_file() else []
    for row in rows:
        print(f"{row['fault']}: {row['verdict']}: {row['message']}")
    code = stage.keep("tensorrt-faults", rows)
    return code or int(done.returncode != 0)
