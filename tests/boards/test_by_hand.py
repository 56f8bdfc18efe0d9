"""``python -m tests.boards``: a board for manual tests."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.agent.test_interpreters import CACHE
from tests.boards.board import REPOSITORY
from tests.boards.faults import until
from tests.boards.test_board import is_removed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.boards.board import SimulatedBoard


def test_a_board_by_hand(boards: Callable[..., SimulatedBoard], environments: Path, tmp_path: Path) -> None:
    """The folder's files allow connecting, commands change the board, and it runs on without input until SIGTERM."""
    boards("jp62").close()  # skips the test if this machine cannot simulate a board, and installs the interpreter
    folder = tmp_path / "board"
    argv = (sys.executable, "-m", "tests.boards", "jp62", "--name", "mule", "--folder", str(folder), "--sudo")
    with subprocess.Popen(
        argv,
        cwd=REPOSITORY,
        env={**os.environ, CACHE: str(environments)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stderr is not None
        try:
            until(lambda: "quit" in program.stdout.readline(), 30, "a board")  # type: ignore[union-attr]  # it was started with a pipe
            program.stdin.write("temperature hot\nnonsense\ntemperature 71.5\n")
            program.stdin.close()
            assert "could not convert" in program.stderr.readline()
            assert "unknown command 'nonsense': use temperature" in program.stderr.readline()
            ssh = ("ssh", "-F", str(folder / "ssh_config"), "mule")
            zone = "cat /sys/class/thermal/thermal_zone0/temp"
            until(
                lambda: subprocess.run((*ssh, zone), capture_output=True, check=False).stdout == b"71500\n", 10, "heat"
            )
            assert subprocess.run((*ssh, "sudo -S id -un"), input=b"jetson\n", capture_output=True, check=True).stdout
            head, *lines = (folder / "target.toml").read_text(encoding="utf-8").splitlines()
            keys = dict(line.split(" = ") for line in lines)
            assert (head, keys["user"], keys["evidence"]) == ("[targets.mule]", '"hil"', '"emulated"')
        finally:
            program.terminate()
        assert program.wait(20) == 0
    number = [int(part) for part in keys["host"].strip('"').split(".")]
    assert is_removed(f"hilb{(number[2] << 6) + number[3] // 4}")
