"""``docs/coming-from.md``: the flags that it names exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent.parent / "docs" / "coming-from.md"
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


def test_flags_of_polygraphy_exist() -> None:
    """Each flag of Polygraphy that the page names is one of the installed ``polygraphy run``."""
    pytest.importorskip("polygraphy")
    text = PAGE.read_text(encoding="utf-8")
    table = text.split("\n## From Polygraphy\n")[1].split("\n## ")[0]
    named = {flag for row in re.findall(r"^\| (`--.*?) \|", table, re.MULTILINE) for flag in FLAG.findall(row)}
    assert len(named) > 20
    done = subprocess.run(
        [Path(sys.executable).with_name("polygraphy"), "run", "--help"], capture_output=True, text=True, check=True
    )
    assert named <= set(FLAG.findall(done.stdout))
