"""The host's end of one agent: what sessions and plugins call."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING, Any

from hil.agent import PROTOCOL
from hil.agent.protocol import arrays, wire
from hil.errors import EngineError, UserError
from hil.onnx_files.external_data import external_files
from hil.targets import blobs
from hil.targets.answers import BuiltEngine, built_engine, error_of
from hil.targets.requests import Requests, pipelined
from hil.targets.worker import EngineWorker
from hil.text import cleaned

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
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


class AgentClient:
    """One agent; requests are answered one at a time, in the order of their sending, from whichever thread.

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

    def hold(self, token: str, who: str, wait: float = 0.0) -> None:
        """Takes the target for the session ``token``, or joins agents that hold it under the same token.

        Waits at most ``wait`` seconds. Raises ``TargetHeld``, which names holder, origin and time.
        """
        claim = {"token": token, "who": who, "host": socket.gethostname(), "pid": str(os.getpid()), "wait": wait}
        self.call("hold", claim)

    def probe(self) -> dict[str, Any]:
        """Facts of the machine: cpu model, cores, memory, kernel, python, numpy, runtimes, clocks."""
        facts: dict[str, Any] = self.call("probe")[0]
        return facts

    def put_blob(self, path: Path) -> str:
        """Brings a file into the target's store unless it is there; returns its SHA-256.

        An upload that was interrupted goes on where it stopped. Raises ``LabError`` when the store is full.
        """
        return blobs.put(self, path)

    def put_model(self, path: Path) -> tuple[str, tuple[str, ...]]:
        """Brings an addressed ONNX file and its external data there; returns its SHA-256 and that data's.

        Raises as ``put_blob``, and ``UserError`` for a file whose content is not what its name states.
        """
        files = external_files(path)
        for file in files:
            if self.put_blob(file.path) != file.location:
                raise UserError(f"{file.path} was changed while the run read it: leave it alone and run again")
        return self.put_blob(path), tuple(file.location for file in files)

    def get_blob(self, digest: str, path: Path, size: int | None = None) -> None:
        """Brings a blob to ``path`` on the host, verified, whole or not at all; ``size`` is what it must have.

        Raises ``LabError`` for one of another size, or of more bytes than any engine has.
        """
        blobs.get(self, digest, path, size)

    def build(  # noqa: PLR0913 - one for each part of the question, and two on how it is answered
        self,
        model_digest: str,
        precision: str,
        runtime: str,
        options: Mapping[str, Any],
        deadline: float,
        *,
        more: bool = False,
        external: Sequence[str] = (),
    ) -> BuiltEngine:
        """Builds an engine from an uploaded model, or finds it in the store; ``deadline`` in seconds.

        ``model_digest`` and ``external`` are what ``put_model`` returned.
        ``options`` may have ``calibration`` (digest) and ``plugins`` (digests); the rest are the runtime's.
        With ``more`` another build follows at once: the process that built waits for it, with TensorRT's builder
        loaded, until anything but builds and files is asked for. Its memory is not free meanwhile.
        Raises ``Unsupported``, ``EngineBuildError`` with the runtime's own words, or ``WorkerLost``.
        """
        order = {"model": model_digest, "precision": precision, "runtime": runtime, "options": dict(options)}
        made = self.call("build", dict(order, deadline=deadline, more=more, external=list(external)))[0]
        with self.reading():
            return built_engine(made, runtime)

    def adopt(
        self, digest: str, precision: str, runtime: str, options: Mapping[str, Any], external: Sequence[str] = ()
    ) -> BuiltEngine:
        """Takes an uploaded engine file that was built elsewhere, as what ``precision`` it is said to be.

        ``external`` and ``options`` as of ``build``, where loading needs them (``plugins``, ``dla``, ``gpu``). The
        engine's ``facts`` have ``foreign``, and its key is no build's. Raises ``LabError`` if it was not uploaded.
        """
        order = {"digest": digest, "precision": precision, "runtime": runtime, "options": dict(options)}
        made = self.call("adopt", dict(order, external=list(external)))[0]
        with self.reading():
            return built_engine(made, runtime)

    def load(self, engine_key: str, options: Mapping[str, Any], deadline: float, *, fresh: bool = True) -> EngineWorker:
        """Loads an engine that this store built in a worker process of its own. Raises like ``build``.

        Unless it has to be ``fresh``, the process may be one that has imported the runtime already: quicker, but its
        times of loading and its memory are not what a robot's would be.
        """
        order = {"key": engine_key, "options": dict(options), "deadline": deadline, "fresh": fresh}
        loaded = self.call("load", order)[0]
        with self.reading():
            return EngineWorker(self, loaded)


def _safe(ok: Mapping[str, Any]) -> dict[str, Any]:
    """What a board wrote, made safe, but for the names that tensors go by."""
    return {**cleaned({key: ok[key] for key in ok if key not in PORTS}), **{key: ok[key] for key in PORTS & ok.keys()}}
