"""The agent's first process: listens to the host and to the workers, keeps deadlines, never computes.

Standard library only. When the host goes away it ends its workers and itself at once; where its end cannot be seen,
because a network lies between, when it has said nothing for too long.
"""

import array
import fcntl
import os
import select
import termios
import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, Optional

from .failure import DEADLINE, DIED, HELD, PROTOCOL, Failure
from .protocol import wire
from .protocol.channel import Channel
from .store.lock import open_lock, try_flock
from .workers.telemetry import Sampler
from .workers.worker_process import WorkerProcess

HEARTBEAT = 2.0
TURN_WAIT = 7200.0  # longer than builds take; a request's own deadline begins once it has its turn
TURN_POLL = 0.005
SLACK = 0.01  # seconds; poll rounds down
FULL = 1 << 14  # bytes: a quarter of what a pipe holds, the smallest of the ways to a standard input
GONE = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0x2000)


class HostGone(Exception):
    """The host closed its end, died, or has said nothing for too long."""


def waiting(fd: int) -> int:
    """How many bytes wait to be read there; 0 where that cannot be told."""
    count = array.array("i", [0])
    try:
        fcntl.ioctl(fd, termios.FIONREAD, count)
    except OSError:
        return 0
    return count[0]


class Supervisor:
    """The event loop: everything that waits, waits in ``step``.

    With ``silence`` (seconds) the host counts as gone when nothing has come from it for that long. It sends pings
    between its requests; what it sends while one is worked on is read as it comes, up to its next request.
    """

    def __init__(self, host: Channel, archive: str, scratch: str, silence: Optional[float] = None) -> None:
        self.host = host
        self.archive = archive
        self.scratch = scratch
        self.silence = silence
        self.container: Any = None  # containers.Containers, where workers run in one
        self.workers: Dict[int, WorkerProcess] = {}
        self.started = 0
        self._due: Optional[float] = None  # when the next sign of life is; None while no request is open
        self._next: Optional[wire.Header] = None  # a request that came while another is worked on, its body unread
        self._behind = 0  # bytes seen to wait behind it
        self._heard = time.monotonic()

    def await_host(self) -> wire.Header:
        """The host's next request. Raises ``HostGone``, or ``WireError`` for what is none."""
        while self._next is None:
            while not self.step(None, select.POLLIN):
                pass
            self._hear()
        request, self._next, self._behind = self._next, None, 0
        return request

    def step(
        self, timeout: Optional[float], event: int = 0, worker: Optional[WorkerProcess] = None, fd: Optional[int] = None
    ) -> bool:
        """Waits at most ``timeout`` seconds; True if the host did ``event`` or ``worker`` answered or went away.

        Waits no longer than until ``fd`` can be read.

        Raises ``HostGone`` while a request is being worked on (``event`` 0) and nobody is left to hear of it.
        """
        listens = event | (select.POLLIN if self.silence is not None and self._next is None else 0)
        found = self._poll(listens | GONE, self._patience(timeout), worker.channel.read_fd if worker else fd)
        heard = found.get(self.host.read_fd, 0)
        if heard & event:
            return True
        if heard & GONE:
            raise HostGone
        if heard:
            try:
                self._hear()
            except wire.WireError:
                raise HostGone from None
        elif self.silence is not None:
            self._judge_silence()
        return worker is not None and worker.channel.read_fd in found

    def _poll(self, listens: int, patience: Optional[float], fd: Optional[int]) -> Dict[int, int]:
        """What happens on which descriptor within ``patience`` milliseconds; what workers write is read at once."""
        poller = select.poll()
        poller.register(self.host.read_fd, listens)
        for worker in self.workers.values():
            if worker.output_open:
                poller.register(worker.stderr, select.POLLIN)
        if fd is not None:
            poller.register(fd, select.POLLIN)
        found = dict(poller.poll(patience))
        for worker in self.workers.values():
            if worker.stderr in found:
                worker.output_open = worker.read_output()
        return found

    def _patience(self, timeout: Optional[float]) -> Optional[float]:
        """Milliseconds to wait at most: until ``timeout``, or until the silence has been too long."""
        if self.silence is not None:
            left = max(0.0, self._last_heard() + self.silence - time.monotonic()) + SLACK
            timeout = left if timeout is None else min(timeout, left)
        return None if timeout is None else max(0.0, timeout) * 1000

    def _last_heard(self) -> float:
        return max(self._heard, self.host.came)

    def _judge_silence(self) -> None:
        """What waits unread behind the next request is a sign of life as well, as long as it grows.

        Where it is so much that there may be no room for more, it is this side that keeps the host from speaking:
        until the request that is worked on meets its own deadline.
        """
        behind = waiting(self.host.read_fd)
        if behind > self._behind or behind >= FULL:
            self._behind, self._heard = behind, time.monotonic()
        elif self.silence is not None and time.monotonic() - self._last_heard() > self.silence:
            raise HostGone

    def _hear(self) -> None:
        """Takes the host's next frame: a ping is forgotten, a request is kept for its turn."""
        request = self.host.receive()
        if request.get("op") != "ping":
            self._next = request
            self._behind = 0

    def tell(self, header: wire.Header, *chunks: Any) -> None:
        """Sends a frame to the host. Raises ``HostGone`` where it cannot be sent, or nobody takes it for too long."""
        try:
            self.host.send(header, *chunks)
        except (wire.Closed, wire.Silent):
            raise HostGone from None

    def finish_body(self) -> None:
        """Forgets what nobody took of the body of the request that is worked on."""
        if self._next is None:
            self.host.drain()

    def start_worker(self) -> WorkerProcess:
        """A fresh worker process."""
        self.started += 1
        if self.container is not None:
            return self._start_contained()
        worker = WorkerProcess(self.started, self.archive, self.scratch)
        self.workers[worker.number] = worker
        return worker

    def _start_contained(self) -> WorkerProcess:
        worker: WorkerProcess = self.container.start_worker(self.started, self.scratch, self.wait_until)
        self.workers[worker.number] = worker
        try:
            self.container.await_worker(worker, self.wait_until)
        except Failure:
            self.stop_worker(worker)
            raise
        return worker

    def stop_worker(self, worker: WorkerProcess) -> None:
        """Ends a worker and forgets it."""
        self.workers.pop(worker.number, None)
        worker.stop()

    def exchange(
        self, worker: WorkerProcess, request: wire.Header, deadline: float, sampler: Optional[Sampler] = None
    ) -> wire.Header:
        """Sends ``request`` to a worker and waits ``deadline`` seconds for the reply, sampling meanwhile.

        Raises ``Failure`` for a worker that failed, died, or had to be killed for being late.
        """
        if not worker.alive:
            raise Failure(DIED, "the worker (process %d) is gone" % worker.pid, "load the engine again")
        now = time.monotonic()
        limit, beat = now + deadline, now + HEARTBEAT
        try:
            worker.channel.send(dict(request, reserved=worker.segment.size))
            while not self.step(min(limit, beat, sampler.due if sampler else beat) - now, 0, worker):
                now = time.monotonic()
                if now >= limit:
                    worker.kill()
                    what = "%s took longer than its deadline of %g s; its worker (process %d) was killed"
                    raise Failure(
                        DEADLINE, what % (request["op"], deadline, worker.pid), "look for a hang, or raise the deadline"
                    )
                if sampler and now >= sampler.due:
                    sampler.take(now)
                if now >= beat:
                    self.tell({"alive": True})
                    beat = now + HEARTBEAT
            reply = worker.channel.receive()
        except wire.WireError:
            raise worker.death() from None
        if "error" in reply:
            error = reply["error"]
            raise Failure(error["kind"], error["message"], error["advice"])
        worker.segment.reach(reply.get("reserved", 0))
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
                self.tell({"alive": True})
                beat = now + HEARTBEAT
            self.step(min(pause, limit - now))

    def beat(self) -> None:
        """Tells the host that work on its request goes on; does nothing until ``HEARTBEAT`` seconds after the last."""
        now = time.monotonic()
        if self._due is not None and now >= self._due:
            self.tell({"alive": True})
            self._due = now + HEARTBEAT

    def serve(self, answer: Callable[[wire.Header], None]) -> None:
        """Hands each request to ``answer`` until the host goes away or breaks the protocol."""
        try:
            while True:
                try:
                    request = self.await_host()
                except (wire.Closed, wire.Silent):
                    return
                except wire.WireError as error:
                    # Where the next frame starts is unknown from here on.
                    self.tell({"error": Failure(PROTOCOL, str(error)).reply()})
                    return
                self._due = time.monotonic() + HEARTBEAT
                answer(request)
                self._due = None
        except (HostGone, wire.Closed, wire.Silent):
            return
        finally:
            for worker in self.workers.values():
                worker.kill()
