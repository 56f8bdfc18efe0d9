"""One agent process as seen from the host: frames in and out, what it wrote to stderr, its end."""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import subprocess
import threading
from typing import TYPE_CHECKING, Any

from hil.agent import wire
from hil.agent.channel import Channel
from hil.errors import LabError, TargetUnreachable

if TYPE_CHECKING:
    from collections.abc import Sequence

GREETING_PATIENCE = 60.0
SILENCE = 60.0  # the agent says every two seconds that it lives while it works on a request
KEPT_LINES = 40
LEAVE_SECONDS = 3.0


class Link:
    """A started agent: ``process`` with pipes on all three standard streams, in a process group of its own.

    ``silence`` is how many seconds an agent may say nothing before it counts as lost.
    """

    def __init__(self, process: subprocess.Popen[bytes], target: str, silence: float = SILENCE) -> None:
        """Takes over a process that was just started; begins to read its stderr."""
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise ValueError("the process needs pipes on all three standard streams")
        self.process = process
        self.target = target
        self.said: collections.deque[str] = collections.deque(maxlen=KEPT_LINES)
        self.channel = Channel(process.stdout.fileno(), process.stdin.fileno(), GREETING_PATIENCE)
        self.silence = silence
        self._listener = threading.Thread(target=self._listen, name=f"hil-stderr-{process.pid}", daemon=True)
        self._listener.start()
        self._lost: LabError | None = None

    def _listen(self) -> None:
        """Keeps stderr empty, so that the agent never waits for us to read it."""
        stream = self.process.stderr
        with contextlib.suppress(OSError, ValueError):
            while stream is not None and (line := stream.readline(4096)):
                self.said.append(line.decode("utf-8", "replace").strip())

    def greeting(self) -> dict[str, Any]:
        """The first frame, past any login banner. Raises ``TargetUnreachable`` if none comes."""
        try:
            self.channel.find_start()
            header: dict[str, Any] = self.channel.receive()
        except wire.WireError as error:
            raise TargetUnreachable(str(self.give_up(f"the agent did not start: {error}"))) from None
        except BaseException:
            self.destroy()
            raise
        self.channel.patience = self.silence
        return header

    def send(self, header: dict[str, Any], chunks: Sequence[Any]) -> None:
        """Sends a request. Raises ``LabError`` for an agent that is gone or does not take it."""
        self._transfer(lambda: self.channel.send(header, *chunks))

    def receive(self, number: int) -> dict[str, Any]:
        """The header of the reply to request ``number``; signs of life before it are passed over."""
        header: dict[str, Any] = {"alive": True}
        while header.get("alive"):
            header = self._transfer(self.channel.receive)
        if header.get("id", number) != number:
            raise self.give_up(f"the agent answered request {header.get('id')} instead of {number}")
        return header

    def take_into(self, view: memoryview) -> None:
        """Reads the reply's body into ``view``."""
        self._transfer(lambda: self.channel.take_into(view))

    def _transfer(self, action: Any) -> Any:
        if self._lost is not None:
            raise LabError(str(self._lost))
        try:
            return action()
        except wire.WireError as error:
            raise self.give_up(f"the agent was lost: {error}") from None
        except BaseException:
            # Interrupted between two bytes, the stream is of no use any more.
            self.give_up("the agent was given up in the middle of a request")
            raise

    def give_up(self, what: str) -> LabError:
        """Ends the agent and returns the error that says ``what`` happened; later calls get the same."""
        self.destroy()
        said = " | ".join(line for line in list(self.said)[-6:] if line)
        last = f" (it last wrote: {said})" if said else ""
        self._lost = LabError(f"{what}{last}: on target {self.target!r}: run again; `hil doctor` tells more")
        return self._lost

    def close(self) -> None:
        """Ends the agent by closing its input, as its host's death would."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(LEAVE_SECONDS)
        self.destroy()

    def destroy(self) -> None:
        """Kills whatever is left of the agent and its workers, and reaps it."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._listener.join(1.0)
        read_out = None if self._listener.is_alive() else self.process.stderr
        for stream in (self.process.stdin, self.process.stdout, read_out):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        if self._lost is None:
            self._lost = LabError(f"the agent is closed: on target {self.target!r}: start another one")
