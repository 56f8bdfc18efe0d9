"""A board in a mount namespace: the real helper and the real sudo, over fakes of NVIDIA's programs and of systemctl."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.board import inside

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import Self

PROGRAM = "/usr/local/sbin/pytest-hil-helper"
SOURCE = Path(__file__).parents[2] / "hil" / "board" / "helper.py"
AGENT = SOURCE.parents[1] / "agent"
SUDOERS = f'{inside.USER} ALL=(root) NOPASSWD: {PROGRAM} ""\n'
AS_USER = ("/usr/bin/setpriv", f"--reuid={inside.USER}", f"--regid={inside.USER}", "--init-groups")


class Sandbox:
    """One board. ``close`` ends it and discards all changes to it."""

    def __init__(self) -> None:
        self._keeper = subprocess.Popen(
            ["/usr/bin/unshare", "-m", sys.executable, "-S", "-m", "tests.board.inside"],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._keeper.stdout is not None
        assert self._keeper.stdout.readline() == "ready\n"
        self.into = ("/usr/bin/nsenter", f"--mount=/proc/{self._keeper.pid}/ns/mnt", "--")

    def close(self) -> None:
        """End the board's last process, and with it the namespace."""
        self._keeper.communicate()

    def file(self, path: str) -> Path:
        """Return this machine's path of a file on the board."""
        return Path(f"/proc/{self._keeper.pid}/root{path}")

    def fake(self, name: str) -> Path:
        """Return a file of the fake programs: ``calls``, ``clocks``, ``mode``, ``units/NAME``, ``fail-PROGRAM``."""
        return self.file(str(inside.FAKE / name))

    @property
    def calls(self) -> list[str]:
        """The command lines of all fake programs that ran."""
        return self.fake("calls").read_text().splitlines()

    def place(self, path: str, text: str, mode: int = 0o644) -> Path:
        """Write a file of root; return its path on this machine."""
        file = self.file(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    def install(self, *services: str) -> None:
        """Install the program, the services and the sudoers file without the installer."""
        self.place(PROGRAM, SOURCE.read_text(encoding="utf-8"), 0o755)
        self.place("/etc/pytest-hil/services", "".join(f"{name}\n" for name in services))
        self.place("/etc/sudoers.d/pytest-hil", SUDOERS, 0o440)
        for name in services:
            self.fake(f"units/{name}.service").write_text("active\n")

    def run(self, *argv: str, user: bool = False, **keys: Any) -> subprocess.CompletedProcess[str]:
        """Run one command as root or as the user."""
        command = (*self.into, *(AS_USER if user else ()), *argv)
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **keys)

    def agent(self, script: str) -> list[str]:
        """Return the command that runs ``script`` as the user, with the board's Python and the agent's modules."""
        for path in sorted(AGENT.rglob("*.py")):
            self.place(f"/srv/{inside.USER}/agent/{path.relative_to(AGENT)}", path.read_text(encoding="utf-8"))
        environment = ("/usr/bin/env", f"PYTHONPATH=/srv/{inside.USER}")
        return [*self.into, *AS_USER, *environment, "/usr/bin/python3", "-c", script]

    def helper(self, *, user: bool = False, around: Sequence[str] = (), **keys: Any) -> HelperProcess:
        """Start the helper, by sudo if ``user``; the words of ``around`` precede its command."""
        sudo = ("/usr/bin/sudo", "-n", "--") if user else ()
        return HelperProcess((*self.into, *(AS_USER if user else ()), *around, *sudo, PROGRAM), **keys)

    def wait_until(self, done: Callable[[], bool], seconds: float = 10.0) -> bool:
        """Wait until ``done`` returns true; return whether it did in time."""
        deadline = time.monotonic() + seconds
        while not done() and time.monotonic() < deadline:
            time.sleep(0.02)
        return done()


class HelperProcess:
    """A running helper: its input and its answers."""

    def __init__(self, command: Sequence[str], **keys: Any) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **keys
        )

    def send(self, data: bytes) -> None:
        """Write raw bytes to the helper."""
        assert self.process.stdin is not None
        os.write(self.process.stdin.fileno(), data)

    def answer(self) -> Any:
        """Return the next answer; None at the end of the output."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def ask(self, line: str) -> Any:
        """Send one line; return its answer."""
        self.send(line.encode() + b"\n")
        return self.answer()

    def end(self) -> int:
        """Close the input; return the exit code."""
        self.process.communicate(timeout=60)
        return self.process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.end()
