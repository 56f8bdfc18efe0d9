"""``docs/deploy.md``: deploy from a clone to a simulated board and roll back, with the printed commands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hil.config.load import load
from tests.agent.test_interpreters import CACHE
from tests.boards.conftest import boards, environments, interpreters
from tests.boards.faults import until
from tests.docs.page import commands, is_shown, sections

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.boards.board import SimulatedBoard

__all__ = ["boards", "environments", "interpreters"]

PAGE = Path(__file__).parent.parent.parent / "docs" / "deploy.md"
CLONED = ("hil.toml", "examples", "tests", "hil", "plugins", "fixtures", "suites", "conftest.py", "pyproject.toml")
MEASURE = '\nwarmup = "0.2 s"\nbudget = "10 s"\nsoak = 400\nexamples = 10\n'
"""Shorter measurements than those of the bundled examples: this page is not about their results."""
LOOSE = ((r"(?m)^latency( +)= .*$", 'latency = { p99 = "5 s" }'), (r"(?m)^fps( +)= \d+$", "fps = 1"))
"""Limits that a busy machine meets: this page is not about speed."""


@pytest.fixture
def clone(repository: Path, tmp_path: Path) -> Path:
    """Return a copy of the repository's files, with this interpreter as ``.venv``."""
    root = tmp_path / "clone"
    root.mkdir()
    for name in CLONED:
        source = repository / name
        if source.is_dir():
            ignore = shutil.ignore_patterns(
                "*.pyc.*", ".hil"
            )  # byte code is copied, except files that are being written
            shutil.copytree(source, root / name, symlinks=True, ignore=ignore)
        else:
            shutil.copy(source, root / name)
    (root / ".venv/bin").mkdir(parents=True)
    for name in ("python", "pytest", "hil"):
        program = Path(sys.executable).with_name(name)
        (root / ".venv/bin" / name).write_text(f'#!/bin/sh\nexec {program} "$@"\n', encoding="utf-8")
        (root / ".venv/bin" / name).chmod(0o755)
    text = (root / "hil.toml").read_text(encoding="utf-8")
    for strict, loose in LOOSE:
        text, count = re.subn(strict, loose, text)
        assert count
    assert text.count("[measure]\n") == 1
    (root / "hil.toml").write_text(text.replace("[measure]\n", f"[measure]{MEASURE}"), encoding="utf-8")
    return root


@pytest.mark.long
def test_the_printed_commands_work(
    clone: Path, boards: Callable[..., SimulatedBoard], environments: Path, tmp_path: Path
) -> None:
    """The page's files are written, and each command, run by a shell, has the exit code and output of the page."""
    boards("jp62").close()  # skips if this machine cannot simulate a board; prepares its interpreter
    blocks = sections(PAGE)["Try it on a simulated board"]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    env |= {
        CACHE: str(environments),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join([str(clone), os.environ["PYTHONPATH"]]),
    }
    (start_board,) = commands(blocks[0].body)
    started = subprocess.Popen(
        ["/bin/sh", "-c", f"exec {start_board.text}"], cwd=clone, env=env, stdin=subprocess.DEVNULL
    )
    try:
        until((clone / "board/ssh_config").exists, 60, "a board")
        for block in blocks[1:]:
            if block.path:
                (clone / block.path).parent.mkdir(exist_ok=True)
                (clone / block.path).write_text(block.body, encoding="utf-8")
            for command in commands(block.body) if block.kind == "console" else ():
                done = subprocess.run(
                    ["/bin/bash", "-c", command.text], cwd=clone, env=env, capture_output=True, text=True, check=False
                )
                output = done.stdout + done.stderr
                assert done.returncode == command.code, f"{command.text}: {output}"
                for line in command.output:
                    assert is_shown(line, output), f"{command.text}: {line!r} is not in: {output}"
    finally:
        started.terminate()
        started.wait(30)


def test_the_isaac_ros_example_loads(tmp_path: Path) -> None:
    """The example configuration for Isaac ROS loads, and its limit comes from the parameter file."""
    [block] = [block for block in sections(PAGE)["Isaac ROS"] if block.kind == "toml"]
    for name in ("detector.onnx", "validation.npz"):
        (tmp_path / name).touch()
    node = "camera:\n  trt:\n    ros__parameters: {inference_fps: 30}\n"
    (tmp_path / "params.yaml").write_text(node, encoding="utf-8")
    (tmp_path / "hil.toml").write_text(block.body, encoding="utf-8")
    config = load(tmp_path / "hil.toml")
    assert config.model("detector", "cpu").limits.fps == 30
    assert config.where("models", "detector", "limits", "fps") == "params.yaml:3 inference_fps"
