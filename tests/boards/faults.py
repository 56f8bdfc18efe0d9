"""Running a small project on a board during a fault, and checking the outcome."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hil.errors import ExitCode
from tests.plugins.project import SUITES, Project, RunResult

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.boards.board import SimulatedBoard

LAB, FAILED, OTHER = int(ExitCode.LAB_ERROR), int(ExitCode.FAILED), int(ExitCode.OTHER_TARGET)
STORE = "/home/hil/.cache/pytest-hil/store"
BRIEF = ("-k", "contract or outputs or p99")
"""The smallest selection of rows that covers every kind of work on a board."""


@dataclass
class BoardProject:
    """A project whose target ``board`` is a simulated board."""

    local: Project
    board: SimulatedBoard

    @classmethod
    def make(cls, root: Path, board: SimulatedBoard, **keys: Any) -> BoardProject:
        """Create the toy project, which passes; ``keys`` are keys of the target."""
        made = cls(Project.make(root), board)
        made.target(**keys)
        return made

    def target(self, **keys: Any) -> None:
        """Write the target's table; ``silence`` is 5 s unless ``keys`` has another value."""
        text = self.local.toml.read_text(encoding="utf-8").split("[targets.board]")[0]
        self.local.toml.write_text(text + self.board.toml("board", **{"silence": "5 s", **keys}), encoding="utf-8")

    def run(self, *args: str, fallback: str = "fail", timeout: float = 120) -> RunResult:
        """Run the suites on the board and wait for the end."""
        return self.local.run(*SUITES, "--target=board", f"--hil-fallback={fallback}", *args, timeout=timeout)

    def brief(self) -> RunResult:
        """Run only the rows of ``BRIEF``."""
        self.require_brief()
        return self.run(*BRIEF)

    def require_brief(self) -> None:
        """Require only the rows of ``BRIEF``, with a timed window of 0.5 s."""
        self.local.require("contract.*", "parity.outputs", "latency.p99")
        set_window(self.local, 0.5)

    def start(self, *args: str, fallback: str = "fail") -> subprocess.Popen[str]:
        """Start the suites on the board in a new process session, as a CI runner does."""
        command = self.local.command(*SUITES, "--target=board", f"--hil-fallback={fallback}", *args)
        return subprocess.Popen(
            command,
            cwd=self.local.root,
            env=self.local.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def end(self, process: subprocess.Popen[str], timeout: float = 60) -> RunResult:
        """Wait for the process of ``start``; return its result."""
        try:
            out, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            out, _ = process.communicate()
            raise AssertionError(f"the run had not ended {timeout} s after the fault:\n{out}") from None
        return RunResult(process.returncode, out, self.local.report())

    def worker(self) -> int:
        """Wait until a worker has used 0.5 s of processor time; return its process id on the board."""
        workers: list[int] = []

        def busy() -> bool:
            workers[:] = [
                one.pid for one in self.board.processes() if "--worker" in one.command and cpu_seconds(one.outer) > 0.5
            ]
            return bool(workers)

        until(busy, 60, "a busy worker")
        return workers[0]


def set_window(local: Project, seconds: float = 60) -> None:
    """Set the timed window of a project."""
    text = local.toml.read_text(encoding="utf-8")
    text = re.sub(r'(duration|budget) = "[^"]*"', rf'\1 = "{seconds} s"', text)
    local.toml.write_text(text, encoding="utf-8")


def until(condition: Callable[[], bool], limit: float, what: str) -> None:
    """Wait until ``condition`` returns true; fail after ``limit`` seconds."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen within {limit} s"
        time.sleep(0.05)


def cpu_seconds(outer: int) -> float:
    """Return the user-mode processor time of a process in seconds."""
    try:
        with open(f"/proc/{outer}/stat", encoding="utf-8") as file:  # noqa: PTH123 - read many times a second
            return int(file.read().rsplit(")", 1)[1].split()[11]) / 100
    except OSError:
        return 0.0


def assert_ended_with(ran: RunResult, code: int, *words: str) -> str:
    """Assert the exit code and exactly one message with these words, no traceback and no pass; return the message."""
    assert ran.code == code, ran.out
    assert "Traceback" not in ran.out, ran.out
    plain = re.sub(r"[\s│]+", " ", ran.out)
    bare = plain.replace(" ", "")  # long words are wrapped anywhere, so compare without blanks
    headline = re.search(r"FAILED ─+╮ (.*?) (?:all )?\d+ required", plain)
    assert headline, ran.out
    message = headline[1]
    assert message.count("on target 'board'") == 1, message
    for word in words:
        assert word in message, f"{word!r} is not in: {message}"
    assert bare.count("ontarget'board'") == bare.count(message.replace(" ", "")), (
        f"another message than {message!r}:\n{ran.out}"
    )
    assert_not_passed(ran)
    return message


def assert_not_passed(ran: RunResult) -> None:
    """Assert that neither output nor report contains a passing decision."""
    assert "PASSED" not in ran.out.replace("passed", ""), ran.out
    if ran.report is not None:
        assert ran.report.get("decision") not in {"PASSED", "WARNED"}, ran.report.get("decision")
        assert ran.report.get("exit_code") != 0


def assert_clean(board: SimulatedBoard, store: str = STORE, within: float = 15) -> None:
    """Wait up to ``within`` seconds for the end of the user's processes; assert that the store has no partial file."""
    until(lambda: not user_processes(board), within, f"the end of {[one.command for one in user_processes(board)]}")
    for name in ("tmp", "partial"):
        place = board.file(f"{store}/{name}")
        left = sorted(place.iterdir()) if place.is_dir() else []
        assert not left, f"left in {name}: {left}"


def user_processes(board: SimulatedBoard) -> list[Any]:
    """Return the processes of the board's user."""
    return [process for process in board.processes() if process.user == board.user]
