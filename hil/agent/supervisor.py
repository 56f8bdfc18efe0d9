"""Run the agent's first process: it listens to the host and the workers and enforces deadlines; it runs no engine.

It ends its workers and itself when the host closes the connection or is silent for too long. Standard library only.
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
TURN_WAIT = 7200.0  # longer than builds take; a request's own deadline starts when it has the turn lock
TURN_POLL = 0.005
SLACK = 0.01  # seconds; poll rounds down
FULL = 1 << 14  # bytes: a quarter of a pipe's capacity; other kinds of standard input buffer more
GONE = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0x2000)


class HostGone(Exception):
    """The host closed the connection, died, or was silent for too long."""


def readable_bytes(fd: int) -> int:
    """Return how many bytes can be read from ``fd`` without blocking; 0 if the kernel cannot report it."""
    count = array.array("i", [0])
    try:
        fcntl.ioctl(fd, termios.FIONREAD, count)
    except OSError:
        return 0
    return count[0]


class Supervisor:
    """The event loop: ``step`` waits for the host, the workers and their output.

    The host counts as lost when nothing arrives from it for ``silence`` seconds (None: no limit).
    """

    def __init__(self, host: Channel, archive: str, scratch: str, silence: Optional[float] = None) -> None:
        self.host = host
        self.archive = archive
        self.scratch = scratch
        self.silence = silence
        self.container: Any = None  # containers.factory.Containers, if the workers run in a container
        self.workers: Dict[int, WorkerProcess] = {}
        self.started = 0
        self._due: Optional[float] = None  # when the next heartbeat is due; None while no request is open
        self._next: Optional[wire.Header] = None  # the next request, if it arrived early; its body is unread
        self._behind = 0  # unread bytes after the header of ``_next`` when they were last counted
        self._last_growth = time.monotonic()

    def await_host(self) -> wire.Header:
        """Return the header of the next request; its body is unread.

        Raise ``HostGone`` or ``wire.Closed`` if the host is lost, another ``WireError`` for a malformed frame.
        """
        while self._next is None:
            while not self.step(None, select.POLLIN):
                pass
            self._receive_frame()
        request, self._next, self._behind = self._next, None, 0
        return request

    def step(
        self, timeout: Optional[float], event: int = 0, worker: Optional[WorkerProcess] = None, fd: Optional[int] = None
    ) -> bool:
        """Wait until something happens or ``timeout`` seconds (None: no limit) have passed.

        Without ``worker``, input on the descriptor ``fd`` ends the wait too. Return True if the poll event ``event``
        occurred on the host's descriptor, or if ``worker`` replied or ended; else False. Raise ``HostGone`` if the host
        is lost.
        """
        listens = event | (select.POLLIN if self.silence is not None and self._next is None else 0)
        events = self._poll(listens | GONE, self._patience(timeout), worker.channel.read_fd if worker else fd)
        host_events = events.get(self.host.read_fd, 0)
        if host_events & event:
            return True
        if host_events & GONE:
            raise HostGone
        if host_events:
            try:
                self._receive_frame()
            except wire.WireError:
                raise HostGone from None
        elif self.silence is not None:
            self._check_silence()
        return worker is not None and worker.channel.read_fd in events

    def _poll(self, listens: int, patience: Optional[float], fd: Optional[int]) -> Dict[int, int]:
        """Wait at most ``patience`` milliseconds (None: no limit) and return the events by descriptor.

        Output of workers is read at once.
        """
        poller = select.poll()
        poller.register(self.host.read_fd, listens)
        for worker in self.workers.values():
            if worker.output_open:
                poller.register(worker.stderr, select.POLLIN)
        if fd is not None:
            poller.register(fd, select.POLLIN)
        events = dict(poller.poll(patience))
        for worker in self.workers.values():
            if worker.stderr in events:
                worker.output_open = worker.read_output()
        return events

    def _patience(self, timeout: Optional[float]) -> Optional[float]:
        """Return the milliseconds until ``timeout`` or, if that is earlier, until the host counts as lost.

        None: no limit.
        """
        if self.silence is not None:
            left = max(0.0, self._last_heard() + self.silence - time.monotonic()) + SLACK
            timeout = left if timeout is None else min(timeout, left)
        return None if timeout is None else max(0.0, timeout) * 1000

    def _last_heard(self) -> float:
        return max(self._last_growth, self.host.came)

    def _check_silence(self) -> None:
        """Raise ``HostGone`` if the host has been silent for ``silence`` seconds.

        The host is not silent while more unread bytes arrive, or while the pipe from the host may be full.
        """
        # While the pipe is full, the host cannot send more.
        behind = readable_bytes(self.host.read_fd)
        if behind > self._behind or behind >= FULL:
            self._behind, self._last_growth = behind, time.monotonic()
        elif self.silence is not None and time.monotonic() - self._last_heard() > self.silence:
            raise HostGone

    def _receive_frame(self) -> None:
        """Read the host's next frame. Discard a ping; store a request's header in ``_next``."""
        request = self.host.receive()
        if request.get("op") != "ping":
            self._next = request
            self._behind = 0

    def send(self, header: wire.Header, *chunks: Any) -> None:
        """Send a frame to the host. Raise ``HostGone`` if the host closed the connection or does not read in time."""
        try:
            self.host.send(header, *chunks)
        except (wire.Closed, wire.Silent):
            raise HostGone from None

    def finish_body(self) -> None:
        """Discard the unread rest of the current request's body."""
        if self._next is None:
            self.host.drain()

    def start_worker(self, runtime: str = "") -> WorkerProcess:
        """Start a worker process, in a container if the target has one, and return it. Raise ``Failure`` on errors.

        Outside of a container the process imports ``runtime`` at once, if it is given.
        """
        self.started += 1
        if self.container is not None:
            return self._start_contained()
        worker = WorkerProcess(self.started, self.archive, self.scratch, runtime)
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
        """Stop a worker and remove it from ``workers``."""
        self.workers.pop(worker.number, None)
        worker.stop()

    def exchange(
        self, worker: WorkerProcess, request: wire.Header, deadline: float, sampler: Optional[Sampler] = None
    ) -> wire.Header:
        """Send ``request`` to a worker and return its reply; ``sampler`` samples the worker meanwhile.

        Raise ``Failure`` if the worker reports an error, dies, or does not reply within ``deadline`` seconds. A worker
        that does not reply in time is killed.
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
                        DEADLINE,
                        what % (request["op"], deadline, worker.pid),
                        "find out what hangs there, or give this call a longer deadline",
                    )
                if sampler and now >= sampler.due:
                    sampler.take(now)
                if now >= beat:
                    self.send({"alive": True})
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
        """Hold the turn lock at ``path``, so that one engine of this target runs at a time.

        Raise ``Failure`` if the lock is not free within ``TURN_WAIT`` seconds.
        """
        fd = open_lock(path)
        try:
            try:
                self.wait_until(lambda: try_flock(fd, fcntl.LOCK_EX), TURN_WAIT, TURN_POLL)
            except TimeoutError:
                what = "another pytest-xdist worker of this session kept the target busy for %g s" % TURN_WAIT
                raise Failure(
                    HELD, what, "run with fewer workers (-n), or build the engines ahead with `hil build`"
                ) from None
            yield
        finally:
            os.close(fd)

    def wait_until(self, attempt: Callable[[], Any], seconds: float, pause: float) -> None:
        """Call ``attempt`` every ``pause`` seconds until it returns true. Raise ``TimeoutError`` after ``seconds``.

        The host gets heartbeats meanwhile.
        """
        limit = time.monotonic() + seconds
        beat = time.monotonic() + HEARTBEAT
        while not attempt():
            now = time.monotonic()
            if now >= limit:
                raise TimeoutError
            if now >= beat:
                self.send({"alive": True})
                beat = now + HEARTBEAT
            self.step(min(pause, limit - now))

    def beat(self) -> None:
        """Send the host a heartbeat if one is due: every ``HEARTBEAT`` seconds while a request is processed.

        Long work must call this repeatedly.
        """
        now = time.monotonic()
        if self._due is not None and now >= self._due:
            self.send({"alive": True})
            self._due = now + HEARTBEAT

    def serve(self, answer: Callable[[wire.Header], None]) -> None:
        """Call ``answer`` with each request until the host goes away or violates the protocol.

        Then kill all workers.
        """
        try:
            while True:
                try:
                    request = self.await_host()
                except (wire.Closed, wire.Silent):
                    return
                except wire.WireError as error:
                    # Where the next frame starts is unknown now.
                    self.send({"error": Failure(PROTOCOL, str(error)).reply()})
                    return
                self._due = time.monotonic() + HEARTBEAT
                answer(request)
                self._due = None
        except (HostGone, wire.Closed, wire.Silent):
            return
        finally:
            for worker in self.workers.values():
                worker.kill()
