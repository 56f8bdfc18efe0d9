"""One agent process as seen from the host: frames in and out, what it wrote to stderr, its end."""

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
SILENCE = 60.0  # the agent says every two seconds that it lives while it works on a request
KEPT_LINES = 40
LONGEST = 1000  # letters of a line of stderr
LEAVE_SECONDS = 3.0


class Link:
    """A started agent, wherever it runs.

    ``silence`` is how many seconds an agent may say nothing before it counts as lost.
    """

    def __init__(self, process: Process, target: str, silence: float = SILENCE) -> None:
        """Takes over a process that was just started; begins to read its stderr."""
        self.process = process
        self.target = target
        self.said: collections.deque[str] = collections.deque(maxlen=KEPT_LINES)
        self.channel = process.channel
        self.silence = silence
        self._listener = threading.Thread(target=self._listen, name=f"hil-stderr-{target}", daemon=True)
        self._listener.start()
        self._lost: LabError | None = None
        self._ending = threading.RLock()  # whoever reads and whoever writes may find out at the same time

    def _listen(self) -> None:
        """Keeps stderr empty, so that the agent never waits for us to read it."""
        for lines in self.process.lines():
            for line in lines.rsplit(b"\n", KEPT_LINES)[-KEPT_LINES:]:
                self.said.append(clean(line[-LONGEST:].decode("utf-8", "replace").strip(), LONGEST))

    def greeting(self) -> dict[str, Any]:
        """The first frame, past any login banner. Raises ``TargetUnreachable`` if none comes in time.

        The channel's patience is what it has for all of it: a byte now and then keeps nobody waiting.
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

    def coming(self, most: int) -> int:
        """Bytes of the reply's body. Raises ``LabError`` where they are more than ``most``."""
        size = self.channel.pending
        if size > most:
            raise self.give_up(f"the agent answered with {size} bytes where {most} are the most there can be")
        return size

    def take_into(self, view: memoryview) -> None:
        """Reads the reply's body into ``view``."""
        self._transfer(lambda: self.channel.take_into(view))

    def drain(self) -> None:
        """Reads the reply's body and forgets it."""
        self._transfer(self.channel.drain)

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
        """Ends the agent and returns the error that says ``what`` happened first; later calls get the same."""
        with self._ending:
            if self._lost is None:
                self._end()
                said = " | ".join(line for line in list(self.said)[-6:] if line)
                last = f" (it last wrote: {said})" if said else ""
                self._lost = LabError(f"{what}{last}: on target {self.target!r}: run again; `hil doctor` tells more")
            return self._lost

    def close(self) -> None:
        """Ends the agent by closing its input, as its host's death would."""
        self.process.end_input()
        self.process.wait(LEAVE_SECONDS)
        self.destroy()

    def destroy(self) -> None:
        """Kills whatever is left of the agent and its workers, and reaps it."""
        with self._ending:
            self._end()
            if self._lost is None:
                self._lost = LabError(f"the agent is closed: on target {self.target!r}: start another one")

    def _end(self) -> None:
        self.process.destroy()
        self._listener.join(1.0)
