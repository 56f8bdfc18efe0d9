"""Requests on their way to an agent and answers on their way back, many at a time, both in the order of sending."""

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

MOST = 512  # requests in flight: of 0.1 ms each, as many as fit into a round trip of 50 ms
MOST_BYTES = 32 << 20  # of them and of their answers: 32 MiB in 40 ms is 800 MB/s
AHEAD = 1.0  # seconds of an agent's work that may be in flight: what is given up half-way is waited for by the next
FIRST = 4  # before it is known how long one takes, and how large its answer is
GROWTH = 64  # times as many in flight as were answered, at most: a few that a network gave at once tell no pace
PING_EVERY = 5.0
PINGS_A_SILENCE = 4  # so that one or two may be late


class Answer:
    """One request's answer to come: ``reply`` is its header and body, ``None`` until it is there."""

    __slots__ = ("most", "number", "reply", "unwanted")

    def __init__(self, number: int, most: int = wire.MAX_BODY) -> None:
        """Expected for the request of this ``number``; its body has at most ``most`` bytes."""
        self.number = number
        self.most = most
        self.reply: Reply | None = None
        self.unwanted = False


class Requests:
    """The host's end of the stream of one agent; any thread may use it.

    A thread of its own reads the answers as they come, so that neither side ever waits for the other to read: the
    agent is never kept from its work by a host that is busy, and a large request is never stuck behind a large
    answer. Over a network (``remote`` of its process) another one sends a ping whenever nothing was sent for a while.
    """

    def __init__(self, link: Link) -> None:
        """For an agent that has sent its greeting."""
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
        """Sends a request, whose answer's body has at most ``most`` bytes.

        Raises ``LabError`` for an agent that is gone or takes nothing any more.
        """
        with self._sending:
            self._numbers += 1
            answer = Answer(self._numbers, most)
            with self._changed:
                # Before it is sent: an agent that still writes an answer takes nothing until somebody reads that.
                self._awaited.append(answer)
                self._changed.notify_all()
                if self._reader is None:
                    self._reader = threading.Thread(target=self._read, name="hil-answers", daemon=True)
                    self._reader.start()
            self._link.send(dict(request, id=answer.number), chunks)
            self._sent = time.monotonic()
        return answer

    def take(self, answer: Answer) -> Reply:
        """Waits for the answer: header and body's bytes. Raises ``LabError`` for an agent that was lost."""
        try:
            with self._changed:
                while answer.reply is None and self._lost is None:
                    self._changed.wait()
        except BaseException:
            # Who interrupts a request wants no more of it, and the agent may be hours from its end.
            self._link.give_up("the agent was given up in the middle of a request")
            raise
        if answer.reply is None:
            raise LabError(str(self._lost))
        return answer.reply

    def close(self) -> None:
        """Ends the threads as soon as the link has ended."""
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
            size = self._link.coming(answer.most)
            body = np.empty(0 if answer.unwanted else size, np.uint8)
            if body.size:
                self._link.take_into(body.data)
            elif size:
                self._link.drain()  # now: the agent cannot go on before it has written all of it
        except HilError as error:
            self._lost = LabError(str(error))
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
            self._lost = self._link.give_up(f"the agent's answer cannot be taken: {type(error).__name__}: {error}")
        else:
            return header, body
        return None

    def _ping(self) -> None:
        """The agent ends itself, and lets go of its board, when it has heard nothing for long."""
        every = min(PING_EVERY, self._link.silence / PINGS_A_SILENCE)
        while not self._closed.wait(every / 2):
            if time.monotonic() - self._sent < every or not self._sending.acquire(blocking=False):
                continue  # what is being sent is heard as well
            try:
                with contextlib.suppress(LabError):
                    self._link.send({"op": "ping"}, [])
                    self._sent = time.monotonic()
            finally:
                self._sending.release()


def pipelined(requests: Requests, orders: Iterable[Order], most: int = wire.MAX_BODY) -> Generator[Reply, None, None]:
    """The replies to ``orders``, in their order, with so many in flight that the way there and back costs nothing.

    Each reply's body has at most ``most`` bytes.
    ``orders`` is drawn from in the caller's own thread, a little ahead, and each is sent before the next is drawn. What
    it raises is raised in its place, after the replies to what it gave before. A caller that stops early leaves the
    stream in order.
    """
    ahead = _Ahead(orders)
    flying: collections.deque[tuple[Answer, int]] = collections.deque()
    first, answered, answer_bytes = 0.0, 0, 0
    try:
        while True:
            # By the time between answers: the way there and back says nothing of how long the agent works on one.
            pace = (answered - 1) / max(1e-9, time.monotonic() - first)
            allowed = min(MOST, 2 + int(AHEAD * pace), GROWTH * answered) if answered > 1 else FIRST
            while len(flying) < allowed and sum(size + answer_bytes for _, size in flying) < MOST_BYTES:
                order = ahead.draw()
                if order is None:
                    break
                flying.append((requests.send(*order, most), _bytes_of(order)))
            if not flying:
                break
            reply = requests.take(flying[0][0])
            flying.popleft()
            first = first if answered else time.monotonic()
            answered, answer_bytes = answered + 1, max(answer_bytes, len(reply[1]))
            yield reply
        if ahead.problem is not None:
            raise ahead.problem
    finally:
        for answer, _ in flying:
            answer.unwanted = True


def _bytes_of(order: Order) -> int:
    """What an order sends: its own chunks, and the piece that goes over a lane beside it."""
    request, chunks = order
    return sum(len(chunk) for chunk in chunks) + (int(request["length"]) if "lane" in request else 0)


class _Ahead:
    """Draws from ``orders`` until they end; what they raise is kept for when its turn comes."""

    def __init__(self, orders: Iterable[Order]) -> None:
        self._source: Iterator[Order] | None = iter(orders)
        self.problem: Exception | None = None

    def draw(self) -> Order | None:
        """The next order; ``None`` where there is none."""
        if self._source is None:
            return None
        try:
            return next(self._source)
        except StopIteration:
            pass
        except Exception as error:  # noqa: BLE001 - raised again at its own place
            self.problem = error
        self._source = None
        return None
