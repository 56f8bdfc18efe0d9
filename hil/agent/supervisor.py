"""The agent's first process: listens to the host and to the workers, keeps deadlines, never computes.

Standard library only. When the host goes away it ends its workers and itself at once.
"""

import fcntl
import os
import select
import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, Optional

from . import wire
from .channel import Channel
from .crew import Hand
from .failure import DEADLINE, DIED, HELD, PROTOCOL, Failure
from .lock import open_lock, try_flock
from .telemetry import Sampler

HEARTBEAT = 2.0
TURN_WAIT = 7200.0  # longer than builds take; a request's own deadline begins once it has its turn
TURN_POLL = 0.005
GONE = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0x2000)


class HostGone(Exception):
    """The host closed its end, or died."""


class Supervisor:
    """The event loop: everything that waits, waits in ``step``."""

    def __init__(self, host: Channel, archive: str, scratch: str) -> None:
        self.host = host
        self.archive = archive
        self.scratch = scratch
        self.crew: Dict[int, Hand] = {}
        self.hired = 0
        self._due: Optional[float] = None  # when the next sign of life is; None while no request is open

    def await_host(self) -> None:
        """Waits for the host's next request. Raises ``HostGone``."""
        while not self.step(None, select.POLLIN):
            pass

    def step(self, timeout: Optional[float], event: int = 0, worker: Optional[Hand] = None) -> bool:
        """Waits at most ``timeout`` seconds; True if the host did ``event`` or ``worker`` answered or went away.

        Raises ``HostGone`` while a request is being worked on (``event`` 0) and nobody is left to hear of it.
        """
        poller = select.poll()
        poller.register(self.host.read_fd, event | GONE)
        for hand in self.crew.values():
            if hand.talks:
                poller.register(hand.stderr, select.POLLIN)
        if worker is not None:
            poller.register(worker.channel.read_fd, select.POLLIN)
        found = dict(poller.poll(None if timeout is None else max(0.0, timeout) * 1000))
        for hand in self.crew.values():
            if hand.stderr in found:
                hand.talks = hand.listen()
        heard = found.get(self.host.read_fd, 0)
        if heard & event:
            return True
        if heard:
            raise HostGone
        return worker is not None and worker.channel.read_fd in found

    def hire(self) -> Hand:
        """A fresh worker process."""
        self.hired += 1
        hand = Hand(self.hired, self.archive, self.scratch)
        self.crew[hand.number] = hand
        return hand

    def dismiss(self, hand: Hand) -> None:
        """Ends a worker and forgets it."""
        self.crew.pop(hand.number, None)
        hand.dismiss()

    def exchange(
        self, hand: Hand, request: wire.Header, deadline: float, sampler: Optional[Sampler] = None
    ) -> wire.Header:
        """Sends ``request`` to a worker and waits ``deadline`` seconds for the reply, sampling meanwhile.

        Raises ``Failure`` for a worker that failed, died, or had to be killed for being late.
        """
        if not hand.alive:
            raise Failure(DIED, "the worker (process %d) is gone" % hand.pid, "load the engine again")
        now = time.monotonic()
        limit, beat = now + deadline, now + HEARTBEAT
        try:
            hand.channel.send(dict(request, reserved=hand.segment.size))
            while not self.step(min(limit, beat, sampler.due if sampler else beat) - now, 0, hand):
                now = time.monotonic()
                if now >= limit:
                    hand.kill()
                    what = "%s took longer than its deadline of %g s; its worker (process %d) was killed"
                    raise Failure(
                        DEADLINE, what % (request["op"], deadline, hand.pid), "look for a hang, or raise the deadline"
                    )
                if sampler and now >= sampler.due:
                    sampler.take(now)
                if now >= beat:
                    self.host.send({"alive": True})
                    beat = now + HEARTBEAT
            reply = hand.channel.receive()
        except wire.WireError:
            raise hand.lost() from None
        if "error" in reply:
            error = reply["error"]
            raise Failure(error["kind"], error["message"], error["advice"])
        hand.segment.reach(reply.get("reserved", 0))
        return reply

    @contextmanager
    def turn(self, path: str) -> Iterator[None]:
        """Holds the turn lock: one engine of this target works at a time."""
        fd = open_lock(path)
        try:
            try:
                self.wait_until(lambda: try_flock(fd, fcntl.LOCK_EX), TURN_WAIT, TURN_POLL)
            except TimeoutError:
                what = "another worker of this session kept the target busy for %g s" % TURN_WAIT
                raise Failure(HELD, what, "run with fewer workers, or build ahead: hil build") from None
            yield
        finally:
            os.close(fd)

    def wait_until(self, attempt: Callable[[], Any], seconds: float, pause: float) -> None:
        """Tries until it succeeds. Raises ``TimeoutError`` after ``seconds``."""
        limit = time.monotonic() + seconds
        beat = time.monotonic() + HEARTBEAT
        while not attempt():
            now = time.monotonic()
            if now >= limit:
                raise TimeoutError
            if now >= beat:
                self.host.send({"alive": True})
                beat = now + HEARTBEAT
            self.step(min(pause, limit - now))

    def beat(self) -> None:
        """Tells the host that work on its request goes on; does nothing until ``HEARTBEAT`` seconds after the last."""
        now = time.monotonic()
        if self._due is not None and now >= self._due:
            self.host.send({"alive": True})
            self._due = now + HEARTBEAT

    def serve(self, answer: Callable[[wire.Header], None]) -> None:
        """Hands each request to ``answer`` until the host goes away or breaks the protocol."""
        try:
            while True:
                self.await_host()
                try:
                    request = self.host.receive()
                except wire.Closed:
                    return
                except wire.WireError as error:
                    # Where the next frame starts is unknown from here on.
                    self.host.send({"error": Failure(PROTOCOL, str(error)).reply()})
                    return
                self._due = time.monotonic() + HEARTBEAT
                answer(request)
                self._due = None
        except (HostGone, wire.Closed):
            return
        finally:
            for hand in self.crew.values():
                hand.kill()
