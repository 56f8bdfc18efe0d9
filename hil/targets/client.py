"""The host's end of one agent: what sessions and plugins call."""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.agent import PROTOCOL, arrays, wire
from hil.errors import EngineError, LabError, UserError
from hil.files import file_digest
from hil.targets.answers import BuiltEngine, error_of
from hil.targets.worker import EngineWorker

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    import numpy.typing as npt
    from typing_extensions import Self

    from hil.targets.link import Link

PIECE = 4 << 20
Named = list[tuple[str, "npt.NDArray[Any]"]]


class AgentClient:
    """One agent; requests go one at a time, from whichever thread. A context manager that closes it.

    ``hello`` has ``agent`` (its digest), ``python``, ``executable``, ``store``, ``pid``. Every method may
    raise ``LabError`` when the agent is lost.
    """

    def __init__(self, link: Link, digest: str) -> None:
        """Waits for the greeting of the agent with this digest. Raises ``TargetUnreachable`` or ``LabError``."""
        self._link = link
        self._numbers = 0
        self._lock = threading.Lock()
        self.target = link.target
        greeting = link.greeting()
        if "error" in greeting:
            link.close()
            raise error_of(greeting["error"], self.target)
        self.hello: Mapping[str, Any] = greeting.get("hello", {})
        if self.hello.get("protocol") != PROTOCOL or self.hello.get("agent") != digest:
            raise link.give_up("another agent than the one that was sent has answered")

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

    def call(self, op: str, fields: Mapping[str, Any] | None = None, named: Iterable[tuple[str, Any]] = ()) -> Any:
        """Sends a request and returns ``(ok, [(name, array)])``; raises what the agent's error stands for."""
        try:
            listing, chunks = arrays.describe(named)
        except wire.WireError as error:
            raise EngineError(f"{error}: on target {self.target!r}: give numeric arrays") from None
        request = dict(fields or {}, op=op)
        if listing:
            request["arrays"] = listing
        return self._ask(request, chunks)

    def _ask(self, request: dict[str, Any], chunks: list[Any]) -> tuple[dict[str, Any], Named]:
        ok, header, body = self.ask_raw(request, chunks)
        try:
            found = arrays.views(body, wire.slots(header, len(body))) if header.get("arrays") else []
        except wire.WireError as error:
            raise self._link.give_up(f"the agent's answer is malformed: {error}") from None
        return ok, found

    def ask_raw(
        self, request: dict[str, Any], chunks: list[Any]
    ) -> tuple[dict[str, Any], dict[str, Any], npt.NDArray[np.uint8]]:
        """One request and its reply: ``ok``, the whole header, the body's bytes."""
        with self._lock:
            self._numbers += 1
            number = self._numbers
            self._link.send(dict(request, id=number), chunks)
            header = self._link.receive(number)
            body = np.empty(self._link.channel.pending, np.uint8)
            self._link.take_into(body.data)
        if "error" in header:
            raise error_of(header["error"], self.target)
        if not isinstance(header.get("ok"), dict):
            raise self._link.give_up("the agent's answer is malformed")
        return header["ok"], header, body

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
        try:
            with path.open("rb") as file:
                digest = file_digest(path)
                size = os.fstat(file.fileno()).st_size
                state = self.call("blob_begin", {"digest": digest, "size": size})[0]
                if state["have"]:
                    return digest
                offset = int(state["offset"])
                file.seek(offset)
                while piece := file.read(PIECE):
                    order = {"op": "blob_append", "digest": digest, "offset": offset}
                    offset = int(self.ask_raw(order, [piece])[0]["offset"])
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}: give a readable file") from None
        self.call("blob_commit", {"digest": digest})
        return digest

    def get_blob(self, digest: str, path: Path) -> None:
        """Brings a blob to ``path`` on the host, verified, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(prefix=path.name, dir=path.parent)
        hasher = hashlib.sha256()
        try:
            with os.fdopen(handle, "wb") as file:
                size = 1
                while file.tell() < size:
                    order = {"op": "blob_read", "digest": digest, "offset": file.tell(), "length": PIECE}
                    ok, _, piece = self.ask_raw(order, [])
                    size = int(ok["size"])
                    if not piece.size and file.tell() < size:
                        break
                    hasher.update(piece.data)
                    file.write(piece.data)
            if hasher.hexdigest() != digest:
                raise LabError(f"blob {digest[:12]} arrived damaged: on target {self.target!r}: run again")
            Path(beside).chmod(0o644)
            Path(beside).replace(path)
        finally:
            Path(beside).unlink(missing_ok=True)

    def build(
        self, model_digest: str, precision: str, runtime: str, options: Mapping[str, Any], deadline: float
    ) -> BuiltEngine:
        """Builds an engine from an uploaded model, or finds it in the store; ``deadline`` in seconds.

        ``options`` may have ``calibration`` (digest) and ``plugins`` (digests); the rest are the runtime's.
        Raises ``Unsupported``, ``EngineBuildError`` with the runtime's own words, or ``WorkerLost``.
        """
        order = {"model": model_digest, "precision": precision, "runtime": runtime, "options": dict(options)}
        made = self.call("build", dict(order, deadline=deadline))[0]
        return _built(made, runtime)

    def adopt(self, digest: str, precision: str, runtime: str, options: Mapping[str, Any]) -> BuiltEngine:
        """Takes an uploaded engine file that was built elsewhere, as what ``precision`` it is said to be.

        ``options`` as of ``build``, where loading needs them (``plugins``, ``dla``, ``gpu``). The engine's
        ``facts`` have ``foreign``, and its key is no build's. Raises ``LabError`` if it was not uploaded.
        """
        order = {"digest": digest, "precision": precision, "runtime": runtime, "options": dict(options)}
        return _built(self.call("adopt", order)[0], runtime)

    def load(self, engine_key: str, options: Mapping[str, Any], deadline: float) -> EngineWorker:
        """Loads an engine that this store built in a fresh worker process. Raises like ``build``."""
        order = {"key": engine_key, "options": dict(options), "deadline": deadline}
        return EngineWorker(self, self.call("load", order)[0])


def _built(made: Mapping[str, Any], runtime: str) -> BuiltEngine:
    return BuiltEngine(
        key=made["key"],
        digest=made["digest"],
        size=made["size"],
        seconds=made["seconds"],
        cached=made["cached"],
        runtime=runtime,
        runtime_version=str(made["facts"]["runtime_version"]),
        log=made["log"],
        facts=made["facts"],
        about=made.get("about") or {},
        peak=made.get("peak"),
    )
