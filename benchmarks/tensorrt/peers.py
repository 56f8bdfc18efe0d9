"""The host's side of scripts that run under TensorRT's interpreter; requests and replies are lines of JSON."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

ROOT = Path(__file__).parents[2]


class Peer:
    """A script that runs in its own process, in the repository's root; ``ready`` is its first line.

    ``seconds`` is the time from its start until that line. Raise ``SystemExit`` if it dies.
    """

    def __init__(self, python: str, module: str, *arguments: object) -> None:
        command = [python, "-B", "-m", f"benchmarks.tensorrt.{module}", *map(str, arguments)]
        began = time.perf_counter()
        # A session of its own, like the agent's: Linux shares processors among sessions (autogroup).
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=dict(os.environ, STARTED=repr(time.time())),
            start_new_session=True,
        )
        self.ready = self._line()
        self.seconds = time.perf_counter() - began

    def ask(self, **order: Any) -> dict[str, Any]:
        """Send one request and return the reply."""
        if self._process.stdin is None:
            raise AssertionError("the process has no pipe")
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return self._line()

    def _line(self) -> dict[str, Any]:
        if self._process.stdout is None:
            raise AssertionError("the process has no pipe")
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise SystemExit(f"{' '.join(self._process.args[3:5])} ended with exit code {code}: see its output above")  # type: ignore[arg-type, index]  # args is what was passed above
        reply: dict[str, Any] = json.loads(line)
        return reply

    def __enter__(self) -> Self:
        """Return the peer, for use as a context manager."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
