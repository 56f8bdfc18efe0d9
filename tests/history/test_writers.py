from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.history.crowd import Found

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 8


def test_killed_writers_lose_and_double_nothing(url: str, tmp_path: Path) -> None:
    """Sixteen at once from the first moment on, when the tables are not there yet, killed in whatever they do."""
    folder = tmp_path / "confirmed"
    folder.mkdir()
    command = [sys.executable, "-m", "tests.history.crowd", url, str(folder), str(SECONDS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = Found(**json.loads(done.stdout))
    assert found.good, found
    assert found.killed >= SECONDS
