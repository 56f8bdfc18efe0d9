"""Connects to one agent process: sends and receives frames, reads the process's stderr, and ends the process."""

from __future__ import annotations

import collections
import threading
from typing import TYPE_CHECKING, Any

from hil.agent.protocol import wire
from hil.errors import LabError, TargetUnreachable
from hil.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.targets.process import Process

GREETING_PATIENCE = 60.0
SILENCE = 60.0  # an agent at work on a request sends a sign of life every two seconds
KEPT_LINES = 40
LONGEST = 1000  # characters of a line of stderr
LEAVE_SECONDS = 3.0


class Link:
    """The connection to a started agent, local or remote.

    An agent that sends nothing for ``silence`` seconds counts as lost.
    """

    def __init__(self, process: Process, target: str, silence: float = SILENCE) -> None:
        """Take over a process that was just started, and begin to read its stderr."""
        self.process = process
        self.target = target
        self.stderr_lines: collections.deque[str] = collections.deque(maxlen=KEPT_LINES)
        self.channel = process.channel
        self.silence = silence
        self._listener = threading.Thread(target=self._listen, name=f"hil-stderr-{target}", daemon=True)
        self._listener.start()
        self._lost: LabError | None = None
        self._ending = threading.RLock()  # the reading and the writing thread may both notice the loss

    def _listen(self) -> None:
        """Read stderr all the time, so that the agent never blocks on a full pipe."""
        for lines in self.process.lines():
            for line in lines.rsplit(b"\n", KEPT_LINES)[-KEPT_LINES:]:
                self.stderr_lines.append(clean(line[-LONGEST:].decode("utf-8", "replace").strip(), LONGEST))

    def greeting(self) -> dict[str, Any]:
        """Return the header of the first frame, skipping any login banner.

        Raises ``TargetUnreachable`` if the frame is not complete within the channel's ``patience`` (seconds).
        """
        patience = self.channel.patience
        late = threading.Timer(patience or 0.0, self.give_up, [f"the agent did not start within {patience or 0:g} s"])
        late.daemon = True
        if patience is not None:
            late.start()
        try:
            self.channel.find_start()
            header: dict[str, Any] = self.channel.receive()
        except wire.WireError as error:
            raise TargetUnreachable(str(self.give_up(f"the agent did not start: {error}"))) from None
        except BaseException:
            self.destroy()
            raise
        finally:
            late.cancel()
        if self._lost is not None:
            raise TargetUnreachable(str(self._lost))
        self.channel.patience = self.silence
        return header

    def send(self, header: dict[str, Any], chunks: Sequence[Any]) -> None:
        """Send a request. Raises ``LabError`` if the agent is gone or does not read it."""
        self._transfer(lambda: self.channel.send(header, *chunks))

    def receive(self, number: int) -> dict[str, Any]:
        """Return the header of the reply to request ``number``; skip the agent's keep-alive frames before the reply.

        Raises ``LabError`` if the agent is lost or answers another request.
        """
        header: dict[str, Any] = {"alive": True}
        while header.get("alive"):
            header = self._transfer(self.channel.receive)
        if header.get("id", number) != number:
            raise self.give_up(f"the agent answered request {header.get('id')} instead of {number}")
        return header

    def body_size(self, most: int) -> int:
        """Return the size of the reply's body in bytes. Raises ``LabError`` if it exceeds ``most``."""
        size = self.channel.pending
        if size > most:
            raise self.give_up(f"the agent answered with {size} bytes where at most {most} are allowed")
        return size

    def take_into(self, view: memoryview) -> None:
        """Read the reply's body into ``view``, which has the body's size. Raises ``LabError`` if the agent is lost."""
        self._transfer(lambda: self.channel.take_into(view))

    def drain(self) -> None:
        """Read the reply's body and discard it. Raises ``LabError`` if the agent is lost."""
        self._transfer(self.channel.drain)

    def _transfer(self, action: Any) -> Any:
        if self._lost is not None:
            raise LabError(str(self._lost))
        try:
            return action()
        except wire.WireError as error:
            raise self.give_up(f"the agent was lost: {error}") from None
        except BaseException:
            # After an interrupt in the middle of a frame the stream cannot be used any more.
            self.give_up("the connection to the agent was abandoned during a request")
            raise

    def give_up(self, what: str) -> LabError:
        """End the agent, and return an error that states ``what`` happened, with the agent's last lines of stderr.

        If the agent was lost before, return the error of that loss.
        """
        with self._ending:
            if self._lost is None:
                self._end()
                tail = " | ".join(line for line in list(self.stderr_lines)[-6:] if line)
                last = f" (it last wrote: {tail})" if tail else ""
                self._lost = LabError(
                    f"{what}{last}: on target {self.target!r}: run again, or examine it with `hil doctor {self.target}`"
                )
            return self._lost

    def close(self) -> None:
        """End the agent: close its standard input, which makes it exit, and kill it if it does not exit in time."""
        self.process.end_input()
        self.process.wait(LEAVE_SECONDS)
        self.destroy()

    def destroy(self) -> None:
        """Kill the processes of the agent and its workers that still run, and reap the agent's process."""
        with self._ending:
            self._end()
            if self._lost is None:
                self._lost = LabError(f"the agent is closed: on target {self.target!r}: start another one")

    def _end(self) -> None:
        self.process.destroy()
        self._listener.join(1.0)
