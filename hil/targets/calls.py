"""Sends requests to one agent and checks its answers; the base of ``AgentClient``."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from hil.agent import PROTOCOL
from hil.agent.protocol import arrays, wire
from hil.dtypes import from_file
from hil.errors import EngineError
from hil.targets.answers import error_of
from hil.targets.requests import Requests, pipelined
from hil.text import cleaned

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Self

    from hil.targets.link import Link
    from hil.targets.process import UploadChannel
    from hil.targets.requests import Order

    Raw = tuple[dict[str, Any], dict[str, Any], npt.NDArray[np.uint8]]

Named = list[tuple[str, "npt.NDArray[Any]"]]

PORTS = frozenset({"inputs", "outputs"})
"""Fields of an answer that hold tensor names. Feeds and outputs use these names, so they are not cleaned."""


class AgentCalls:
    """A connection to one agent, and a context manager that closes it. Any thread may send requests.

    Attributes:
        uploaded: bytes of files sent so far.
        hello: the agent's greeting: ``agent`` (digest of its archive), ``python``, ``executable``, ``store``, ``pid``.

    The agent answers in order. A method that sends a request raises ``LabError`` if the agent is lost.
    """

    def __init__(self, link: Link, digest: str) -> None:
        """Wait for the agent's greeting. ``digest`` is the SHA-256 of the archive that the agent must run.

        Raises ``TargetUnreachable`` if no greeting arrives, ``LabError`` if it is malformed or of another agent, and
        the error of ``error_of`` if the greeting is an error.
        """
        self._link = link
        self.target = link.target
        greeting = link.greeting()
        with self.reading():
            if "error" in greeting:
                error = error_of(greeting["error"], self.target)
                link.close()
                raise error
            self.hello: Mapping[str, Any] = cleaned(greeting.get("hello", {}))
            if self.hello.get("protocol") != PROTOCOL or self.hello.get("agent") != digest:
                raise link.give_up("the agent that answered is not the one that was sent")
        self._requests = Requests(link)
        self.uploaded = 0

    def __enter__(self) -> Self:
        """Return this connection."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection, also after an error."""
        self.close()

    def close(self) -> None:
        """End the agent and its workers. May be called twice."""
        self._link.close()
        self._requests.close()

    def give_up(self, reason: str) -> None:
        """End the agent because of ``reason``. A thread that waits for an answer gets a ``LabError``."""
        self._link.give_up(reason)

    def call(self, op: str, fields: Mapping[str, Any] | None = None, named: Iterable[tuple[str, Any]] = ()) -> Any:
        """Send a request; return the answer's fields and named arrays. Raises the ``HilError`` of an error reply."""
        request, chunks = self._order(op, fields, named)
        return self._with_arrays(*self.ask_raw(request, chunks))

    def call_many(
        self, op: str, orders: Iterable[tuple[Mapping[str, Any], Iterable[tuple[str, Any]]]]
    ) -> Generator[tuple[dict[str, Any], Named], None, None]:
        """Make a ``call`` for each of ``orders`` (fields and arrays), many in flight; yield the answers in their order.

        If an order fails, its error is raised in its turn and ends the iteration.
        """
        with contextlib.closing(self.ask_many(self._order(op, fields, named) for fields, named in orders)) as raws:
            for raw in raws:
                yield self._with_arrays(*raw)

    def _order(self, op: str, fields: Mapping[str, Any] | None, named: Iterable[tuple[str, Any]]) -> Order:
        try:
            listing, chunks = arrays.describe(named)
        except wire.WireError as error:
            raise EngineError(f"{error}: on target {self.target!r}: pass numeric arrays") from None
        request = dict(fields or {}, op=op)
        if listing:
            request["arrays"] = listing
        return request, chunks

    def _with_arrays(
        self, ok: dict[str, Any], header: dict[str, Any], body: npt.NDArray[np.uint8]
    ) -> tuple[dict[str, Any], Named]:
        with self.reading():
            named = arrays.views(body, wire.slots(header, len(body))) if header.get("arrays") else []
            return ok, [(name, from_file(array)) for name, array in named]

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Parse an answer in the ``with`` block: an error of parsing ends the agent and becomes a ``LabError``."""
        try:
            yield
        except (wire.WireError, KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            what = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error)
            raise self._link.give_up(f"the agent's answer is malformed: {what[:200]}") from None

    def ask_raw(self, request: dict[str, Any], chunks: Sequence[Any], most: int = wire.MAX_BODY) -> Raw:
        """Send one request; return the answer's fields, its whole header and its body (at most ``most`` bytes)."""
        return self._checked(*self._requests.take(self._requests.send(request, chunks, most)))

    def ask_many(self, orders: Iterable[Order], most: int = wire.MAX_BODY) -> Generator[Raw, None, None]:
        """Do ``ask_raw`` for each of ``orders`` (request, chunks), many in flight; yield the answers in their order."""
        with contextlib.closing(pipelined(self._requests, orders, most)) as replies:
            for reply in replies:
                yield self._checked(*reply)

    def _checked(self, header: dict[str, Any], body: npt.NDArray[np.uint8]) -> Raw:
        if "error" in header:
            with self.reading():
                raise error_of(header["error"], self.target)
        if not isinstance(header.get("ok"), dict):
            raise self._link.give_up("the agent's answer is malformed")
        with self.reading():
            return _safe(header["ok"]), header, body

    @property
    def remote(self) -> bool:
        """Whether the agent is reached over a network."""
        return self._link.process.remote

    def upload_channel(self, path: str) -> UploadChannel:
        """Open one more channel, into the agent's named pipe ``path``. Raises ``LabError`` if that is impossible."""
        return self._link.process.upload_channel(path, self.target)


def _safe(ok: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``ok`` with unsafe characters of the board's text escaped, except in tensor names."""
    return {**cleaned({key: ok[key] for key in ok if key not in PORTS}), **{key: ok[key] for key in PORTS & ok.keys()}}
