"""The linters, the type checker and the version checker run as tests."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ON_BOARD = ("hil/board/helper.py", "hil/board/as_root.py", "hil/board/unit_check.py")
VERMIN = (
    "vermin",
    "--quiet",
    "--no-tips",
    "--eval-annotations",
    "--violations",
    "--target=3.6-",
    "hil/agent",
    *ON_BOARD,
)
SILENCED = re.compile(r"# (noqa|type: ignore)\b")
REASONED = re.compile(r"# (noqa: [A-Z0-9, ]+ - \S|type: ignore\[[a-z, -]+\]  ?# \S)")


def run(root: Path, tool: str, *arguments: str) -> None:
    """Run ``tool`` of this environment in ``root``; fail the test with its findings."""
    program = shutil.which(tool, path=sysconfig.get_path("scripts")) or shutil.which(tool)
    if program is None:
        pytest.skip(f"{tool} is not installed: pip install -e .[dev]")
    done = subprocess.run([program, *arguments], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"{tool} {' '.join(arguments)}:\n{done.stdout}{done.stderr}", pytrace=False)


@pytest.mark.parametrize("arguments", [("check", "."), ("format", "--check", ".")], ids=["check", "format"])
def test_ruff_finds_nothing(repository: Path, arguments: Sequence[str]) -> None:
    """The whole tree passes ruff's rules and is formatted."""
    run(repository, "ruff", *arguments, "--no-cache")


@pytest.mark.long
def test_types_hold(repository: Path) -> None:
    """All code except the agent passes strict type checking."""
    run(repository, "mypy", f"--python-executable={sys.executable}")


def test_agent_keeps_to_python_3_6(repository: Path) -> None:
    """The agent's syntax and imports work on Python 3.6, which the oldest boards have."""
    run(repository, *VERMIN)


def test_each_ignore_has_a_reason(repository: Path) -> None:
    """A silenced rule has its reason on the same line: ``RULE - why`` for ruff, ``[code]  # why`` for mypy."""
    bare = [
        f"{path.relative_to(repository)}:{number}: {line.strip()}"
        for path in python_files(repository)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if SILENCED.search(line) and not REASONED.search(line)
    ]
    assert not bare, "\n".join(bare)


def python_files(root: Path) -> list[Path]:
    """Return each Python file once: ``rglob`` does not follow the links inside ``hil``."""
    folders = ("hil", "plugins", "fixtures", "suites", "tests", "benchmarks", "examples", ".ci")
    return [path for folder in folders for path in sorted((root / folder).rglob("*.py"))]
