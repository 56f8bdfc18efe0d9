"""Requests to one agent and its answers, as everything that is asked of it uses them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from hil.agent import PROTOCOL
from hil.agent.protocol import arrays, wire
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
    from hil.targets.process import Lane
    from hil.targets.requests import Order

    Raw = tuple[dict[str, Any], dict[str, Any], npt.NDArray[np.uint8]]

Named = list[tuple[str, "npt.NDArray[Any]"]]

PORTS = frozenset({"inputs", "outputs"})
"""What an answer names tensors in: feeds and outputs go by these names, so they stay as the runtime has them."""


class AgentCalls:
    """The conversation with one agent; requests are answered one at a time, in the order of sending, from any thread.

    A context manager that closes it. ``uploaded`` counts the bytes of files that were sent.

    ``hello`` has ``agent`` (its digest), ``python``, ``executable``, ``store``, ``pid``. Every method may
    raise ``LabError`` when the agent is lost.
    """

    def __init__(self, link: Link, digest: str) -> None:
        """Waits for the greeting of the agent with this digest. Raises ``TargetUnreachable`` or ``LabError``."""
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
                raise link.give_up("another agent than the one that was sent has answered")
        self._requests = Requests(link)
        self.uploaded = 0

    def __enter__(self) -> Self:
        """Usable as a context manager."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes it, whatever happened inside."""
        self.close()

    def close(self) -> None:
        """Ends the agent and its workers; may be called twice."""
        self._link.close()
        self._requests.close()

    def call(self, op: str, fields: Mapping[str, Any] | None = None, named: Iterable[tuple[str, Any]] = ()) -> Any:
        """Sends a request and returns ``(ok, [(name, array)])``; raises what the agent's error stands for."""
        request, chunks = self._order(op, fields, named)
        return self._found(*self.ask_raw(request, chunks))

    def call_many(
        self, op: str, orders: Iterable[tuple[Mapping[str, Any], Iterable[tuple[str, Any]]]]
    ) -> Generator[tuple[dict[str, Any], Named], None, None]:
        """As ``call`` for each of ``orders`` (fields and arrays), many in flight at a time; in their order.

        An error is raised in its place, and ends it.
        """
        with contextlib.closing(self.ask_many(self._order(op, fields, named) for fields, named in orders)) as raws:
            for raw in raws:
                yield self._found(*raw)

    def _order(self, op: str, fields: Mapping[str, Any] | None, named: Iterable[tuple[str, Any]]) -> Order:
        try:
            listing, chunks = arrays.describe(named)
        except wire.WireError as error:
            raise EngineError(f"{error}: on target {self.target!r}: give numeric arrays") from None
        request = dict(fields or {}, op=op)
        if listing:
            request["arrays"] = listing
        return request, chunks

    def _found(
        self, ok: dict[str, Any], header: dict[str, Any], body: npt.NDArray[np.uint8]
    ) -> tuple[dict[str, Any], Named]:
        with self.reading():
            return ok, arrays.views(body, wire.slots(header, len(body))) if header.get("arrays") else []

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """For reading what an answer says: an agent whose answer is no such one is ended, with ``LabError``."""
        try:
            yield
        except (wire.WireError, KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            what = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error)
            raise self._link.give_up(f"the agent's answer is malformed: {what[:200]}") from None

    def ask_raw(self, request: dict[str, Any], chunks: Sequence[Any], most: int = wire.MAX_BODY) -> Raw:
        """One request and its reply: ``ok``, the whole header, the body's bytes, which are ``most`` at most."""
        return self._checked(*self._requests.take(self._requests.send(request, chunks, most)))

    def ask_many(self, orders: Iterable[Order], most: int = wire.MAX_BODY) -> Generator[Raw, None, None]:
        """As ``ask_raw`` for each of ``orders`` (request and chunks), many in flight at a time; in their order."""
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
        """Whether a network lies between."""
        return self._link.process.remote

    def lane(self, path: str) -> Lane:
        """Another channel into a named pipe of the agent's. Raises ``LabError`` where there can be none."""
        return self._link.process.lane(path, self.target)


def _safe(ok: Mapping[str, Any]) -> dict[str, Any]:
    """What a board wrote, made safe, but for the names that tensors go by."""
    return {**cleaned({key: ok[key] for key in ok if key not in PORTS}), **{key: ok[key] for key in PORTS & ok.keys()}}
