"""A small project judged on a board while something breaks, and what must be so afterwards."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hil.errors import ExitCode
from tests.plugins.project import SUITES, Project, Ran

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.boards.board import SimulatedBoard

LAB, FAILED, OTHER = int(ExitCode.LAB_ERROR), int(ExitCode.FAILED), int(ExitCode.OTHER_TARGET)
STORE = "/home/hil/.cache/pytest-hil/store"
BRIEF = ("-k", "contract or outputs or p99")
"""As little as may be green: every kind of work that is done on a board, and no more."""


@dataclass
class Judged:
    """A project with a board as its target ``board``."""

    project: Project
    board: SimulatedBoard

    @classmethod
    def make(cls, root: Path, board: SimulatedBoard, **keys: Any) -> Judged:
        """The healthy toy project; ``keys`` are the target's."""
        made = cls(Project.make(root), board)
        made.target(**keys)
        return made

    def target(self, **keys: Any) -> None:
        """Writes the target's table anew; lost after five seconds of silence unless told otherwise."""
        text = self.project.toml.read_text(encoding="utf-8").split("[targets.board]")[0]
        self.project.toml.write_text(text + self.board.toml("board", **{"silence": "5 s", **keys}), encoding="utf-8")

    def run(self, *args: str, fallback: str = "fail", timeout: float = 120) -> Ran:
        """The suites on the board, to the end."""
        return self.project.run(*SUITES, "--target=board", f"--hil-fallback={fallback}", *args, timeout=timeout)

    def brief(self) -> Ran:
        """A run that is green where ``BRIEF`` passes, timed for a second."""
        text = self.project.toml.read_text(encoding="utf-8")
        text = re.sub(r"require = .*", 'require = ["contract.*", "parity.outputs", "latency.p99"]', text)
        self.project.toml.write_text(text, encoding="utf-8")
        self.window(1)
        return self.run(*BRIEF)

    def window(self, length: int = 60) -> None:
        """Lets it time for so many seconds; by default longer than any fault takes to be noticed."""
        text = self.project.toml.read_text(encoding="utf-8")
        text = re.sub(r'(duration|budget) = "[^"]*"', rf'\1 = "{length} s"', text)
        self.project.toml.write_text(text, encoding="utf-8")

    def start(self, *args: str, fallback: str = "fail") -> subprocess.Popen[str]:
        """The suites on the board, under way; in a session of its own as under a CI runner."""
        command = self.project.command(*SUITES, "--target=board", f"--hil-fallback={fallback}", *args)
        return subprocess.Popen(
            command,
            cwd=self.project.root,
            env=self.project.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def end(self, process: subprocess.Popen[str], timeout: float = 60) -> Ran:
        """Waits for what ``start`` began."""
        try:
            out, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            out, _ = process.communicate()
            raise AssertionError(f"it had not ended {timeout} s after the fault:\n{out}") from None
        return Ran(process.returncode, out, self.project.report())

    def worker(self) -> int:
        """The board's id of a worker that has computed for half a second, once there is one."""
        found: list[int] = []

        def busy() -> bool:
            found[:] = [
                one.pid for one in self.board.processes() if "--worker" in one.command and seconds(one.outer) > 0.5
            ]
            return bool(found)

        until(busy, 60, "a busy worker")
        return found[0]


def until(found: Callable[[], bool], limit: float, what: str) -> None:
    """Waits until something is so."""
    end = time.monotonic() + limit
    while not found():
        assert time.monotonic() < end, f"{what} did not happen within {limit} s"
        time.sleep(0.02)


def seconds(outer: int) -> float:
    """Processor time a process has had in user mode."""
    try:
        with open(f"/proc/{outer}/stat", encoding="utf-8") as file:  # noqa: PTH123 - read many times a second
            return int(file.read().rsplit(")", 1)[1].split()[11]) / 100
    except OSError:
        return 0.0


def told(ran: Ran, code: int, *words: str) -> str:
    """That exit code; one message, with each of the words; no traceback; nothing green. Gives the message.

    The headline of the summary has the message; whatever else of the output names the target says the same.
    """
    assert ran.code == code, ran.out
    assert "Traceback" not in ran.out, ran.out
    plain = re.sub(r"[\s│]+", " ", ran.out)
    bare = plain.replace(" ", "")  # a long word is broken anywhere, so that what is the same is the same without blanks
    headline = re.search(r"FAILED ─+╮ (.*?) (?:all )?\d+ required", plain)
    assert headline, ran.out
    message = headline[1]
    assert message.count("on target 'board'") == 1, message
    for word in words:
        assert word in message, f"{word!r} is not in: {message}"
    assert bare.count("ontarget'board'") == bare.count(message.replace(" ", "")), (
        f"another message than {message!r}:\n{ran.out}"
    )
    nothing_green(ran)
    return message


def nothing_green(ran: Ran) -> None:
    """No decision that lets anything through."""
    assert "PASSED" not in ran.out.replace("passed", ""), ran.out
    if ran.report is not None:
        assert ran.report.get("decision") not in {"PASSED", "WARNED"}, ran.report.get("decision")
        assert ran.report.get("exit_code") != 0


def clean(board: SimulatedBoard, store: str = STORE, within: float = 15) -> None:
    """No process of the user's is left on the board within some seconds, and nothing half-written in its store."""
    until(lambda: not users(board), within, f"an end of {[one.command for one in users(board)]}")
    for name in ("tmp", "partial"):
        place = board.file(f"{store}/{name}")
        left = sorted(place.iterdir()) if place.is_dir() else []
        assert not left, f"left in {name}: {left}"


def users(board: SimulatedBoard) -> list[Any]:
    """Processes of the user's own."""
    return [process for process in board.processes() if process.user == board.user]
