"""Pipelines requests to one agent: many in flight, answered in the order of sending."""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.agent.protocol import wire
from hil.errors import HilError, LabError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    import numpy.typing as npt

    from hil.targets.link import Link

    Order = tuple[dict[str, Any], Sequence[Any]]
    Reply = tuple[dict[str, Any], npt.NDArray[np.uint8]]

MOST = 512  # requests in flight; at 0.1 ms each they fill a round trip of 50 ms
MOST_BYTES = 32 << 20  # bytes in flight, requests and answers together; 32 MiB in 40 ms is 800 MB/s
AHEAD = 1.0  # seconds of the agent's work in flight; if the caller stops early, the next request waits for this work
FIRST = 4  # requests in flight until the first answers show their duration and size
GROWTH = 64  # requests in flight at most for each answer received: the pace of the first few answers may be too high
PING_EVERY = 5.0  # seconds
PINGS_A_SILENCE = 4  # several, so that one or two may be late


class Answer:
    """The pending answer of one request: ``reply`` is its header and body, ``None`` until it arrives.

    If ``unwanted`` is set, nobody waits for it, and its body is discarded.
    """

    __slots__ = ("most", "number", "reply", "unwanted")

    def __init__(self, number: int, most: int = wire.MAX_BODY) -> None:
        """Expect an answer to request ``number``, with a body of at most ``most`` bytes."""
        self.number = number
        self.most = most
        self.reply: Reply | None = None
        self.unwanted = False


class Requests:
    """Sends requests to one agent and receives its answers; any thread may use it.

    For a ``remote`` process, a second thread sends pings when nothing else is sent.
    """

    def __init__(self, link: Link) -> None:
        """Take over the link of an agent that has sent its greeting."""
        self._link = link
        self._sending = threading.Lock()
        self._changed = threading.Condition()
        self._awaited: collections.deque[Answer] = collections.deque()
        self._lost: LabError | None = None
        self._closed = threading.Event()
        self._numbers = 0
        self._sent = time.monotonic()
        self._reader: threading.Thread | None = None
        if link.process.remote:
            threading.Thread(target=self._ping, name="hil-ping", daemon=True).start()

    def send(self, request: dict[str, Any], chunks: Sequence[Any], most: int = wire.MAX_BODY) -> Answer:
        """Send a request and return its pending answer, whose body may have at most ``most`` bytes.

        Raises ``LabError`` if the agent is gone or no longer reads.
        """
        with self._sending:
            self._numbers += 1
            answer = Answer(self._numbers, most)
            with self._changed:
                # Queued before sending: an agent that is writing an answer reads nothing until that answer is read.
                self._awaited.append(answer)
                self._changed.notify_all()
                if self._reader is None:
                    self._reader = threading.Thread(target=self._read, name="hil-answers", daemon=True)
                    self._reader.start()
            self._link.send(dict(request, id=answer.number), chunks)
            self._sent = time.monotonic()
        return answer

    def take(self, answer: Answer) -> Reply:
        """Wait for the answer, and return its header and body.

        Raises ``LabError`` if the agent is lost.

        An interrupted wait, by Ctrl-C for example, ends the agent.
        """
        try:
            with self._changed:
                while answer.reply is None and self._lost is None:
                    self._changed.wait()
        except BaseException:
            # The request was interrupted; the agent might work on it for hours.
            self._link.give_up("the connection to the agent was abandoned during a request")
            raise
        if answer.reply is None:
            raise LabError(str(self._lost))
        return answer.reply

    def close(self) -> None:
        """End the reader and ping threads. Call it after the link has ended."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()

    def _read(self) -> None:
        while True:
            with self._changed:
                while not self._awaited:
                    if self._closed.is_set():
                        return
                    self._changed.wait()
                answer = self._awaited[0]
            reply = self._received(answer)
            with self._changed:
                self._awaited.popleft()
                answer.reply = reply
                self._changed.notify_all()
                if self._lost is not None:
                    return

    def _received(self, answer: Answer) -> Reply | None:
        try:
            header = self._link.receive(answer.number)
            size = self._link.body_size(answer.most)
            body = np.empty(0 if answer.unwanted else size, np.uint8)
            if body.size:
                self._link.take_into(body.data)
            elif size:
                self._link.drain()  # the agent cannot continue before all of it is read
        except HilError as error:
            self._lost = LabError(str(error))
        except Exception as error:  # noqa: BLE001 - the waiting thread must get any error
            self._lost = self._link.give_up(f"the agent's answer cannot be received: {type(error).__name__}: {error}")
        else:
            return header, body
        return None

    def _ping(self) -> None:
        """Send a ping whenever nothing else was sent for a while."""
        every = min(PING_EVERY, self._link.silence / PINGS_A_SILENCE)
        while not self._closed.wait(every / 2):
            if time.monotonic() - self._sent < every or not self._sending.acquire(blocking=False):
                continue  # a request in transit has the same effect
            try:
                with contextlib.suppress(LabError):
                    self._link.send({"op": "ping"}, [])
                    self._sent = time.monotonic()
            finally:
                self._sending.release()


def pipelined(requests: Requests, orders: Iterable[Order], most: int = wire.MAX_BODY) -> Generator[Reply, None, None]:
    """Yield the replies to ``orders`` in their order, with enough requests in flight to hide the round trip.

    A reply's body has at most ``most`` bytes. ``orders`` is consumed in the caller's thread. If ``orders`` raises an
    error, it is raised here after the replies to the earlier orders.
    """
    ahead = _Ahead(orders)
    flying: collections.deque[tuple[Answer, int]] = collections.deque()
    first, answered, answer_bytes, sent_bytes = 0.0, 0, 0, 0
    try:
        while True:
            # From the time between answers, because the round trip does not show how long the agent works on a request.
            pace = (answered - 1) / max(1e-9, time.monotonic() - first)
            allowed = min(MOST, 2 + int(AHEAD * pace), GROWTH * answered) if answered > 1 else FIRST
            while len(flying) < allowed and sent_bytes + answer_bytes * len(flying) < MOST_BYTES:
                order = ahead.draw()
                if order is None:
                    break
                flying.append((requests.send(*order, most), _bytes_of(order)))
                sent_bytes += flying[-1][1]
            if not flying:
                break
            reply = requests.take(flying[0][0])
            sent_bytes -= flying.popleft()[1]
            first = first if answered else time.monotonic()
            answered, answer_bytes = answered + 1, max(answer_bytes, len(reply[1]))
            yield reply
        if ahead.problem is not None:
            raise ahead.problem
    finally:
        for answer, _ in flying:
            answer.unwanted = True


def _bytes_of(order: Order) -> int:
    """Return the number of bytes that an order sends: its chunks, or its piece on an upload channel."""
    request, chunks = order
    return sum(len(chunk) for chunk in chunks) + (int(request["length"]) if "pipe" in request else 0)


class _Ahead:
    """Takes orders from an iterable until it ends or raises; ``problem`` is the error that it raised, else ``None``."""

    def __init__(self, orders: Iterable[Order]) -> None:
        self._source: Iterator[Order] | None = iter(orders)
        self.problem: Exception | None = None

    def draw(self) -> Order | None:
        """Return the next order; ``None`` if the iterable has ended or raised."""
        if self._source is None:
            return None
        try:
            return next(self._source)
        except StopIteration:
            pass
        except Exception as error:  # noqa: BLE001 - raised again after the replies before it
            self.problem = error
        self._source = None
        return None
