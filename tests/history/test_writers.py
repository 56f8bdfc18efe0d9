from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.history.concurrent_writers import WriterCounts

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 1


def test_killed_writers_lose_and_duplicate_no_run(url: str, tmp_path: Path) -> None:
    """No run confirmed to one of 16 randomly killed writers is lost or doubled, even while tables are created."""
    folder = tmp_path / "confirmed"
    folder.mkdir()
    command = [sys.executable, "-m", "tests.history.concurrent_writers", url, str(folder), str(SECONDS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    counts = WriterCounts(**json.loads(done.stdout))
    assert counts.good, counts
    assert counts.killed >= 2
