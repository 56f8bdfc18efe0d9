"""Provides the host's interface to one agent: a method for each request."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

from hil.errors import UserError
from hil.onnx_files.external_data import external_files
from hil.targets import file_transfer
from hil.targets.answers import built_engine, found_engine
from hil.targets.calls import AgentCalls
from hil.targets.engine_worker import EngineWorker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from hil.targets.answers import BuiltEngine, Found

    Raw = tuple[dict[str, Any], dict[str, Any], npt.NDArray[np.uint8]]


class AgentClient(AgentCalls):
    """One method for each request that an agent answers; ``AgentCalls`` transports the requests."""

    def hold(self, token: str, who: str, wait: float = 0.0) -> None:
        """Hold the target for the session that ``token`` identifies.

        Several agents of one session may hold it at once. ``who`` is the name that other users see. Raises
        ``TargetHeld`` if another session still holds the target after ``wait`` seconds.
        """
        claim = {"token": token, "who": who, "host": socket.gethostname(), "pid": str(os.getpid()), "wait": wait}
        self.call("hold", claim)

    def probe(self) -> dict[str, Any]:
        """Return facts of the target's machine: CPU model, cores, memory, kernel, Python, numpy, runtimes, clocks."""
        facts: dict[str, Any] = self.call("probe")[0]
        return facts

    def put_blob(self, path: Path) -> str:
        """Upload a file to the target's store unless it is there; return its SHA-256.

        An interrupted upload resumes where it stopped. Raises ``LabError`` if the store is full.
        """
        return file_transfer.put(self, path)

    def put_model(self, path: Path) -> tuple[str, tuple[str, ...]]:
        """Upload an ONNX file and its external data; return the SHA-256 of the file, and those of the data files.

        The ONNX file must name the data files by their SHA-256. Raises like ``put_blob``, and ``UserError`` if a data
        file does not match its name.
        """
        files = external_files(path)
        for file in files:
            if self.put_blob(file.path) != file.location:
                raise UserError(f"{file.path} was changed while the run read it: do not change it, and run again")
        return self.put_blob(path), tuple(file.location for file in files)

    def get_blob(self, digest: str, path: Path, size: int | None = None) -> None:
        """Download a blob to ``path`` on the host, verified and written atomically.

        Raises ``LabError`` if the blob arrives damaged, does not have ``size`` bytes, or exceeds 64 GiB.
        """
        file_transfer.get(self, digest, path, size)

    def build(  # noqa: PLR0913 - one for each part of the build's identity, and two on how it runs
        self,
        model_digest: str,
        precision: str,
        runtime: str,
        options: Mapping[str, Any],
        deadline: float,
        *,
        more: bool = False,
        external: Sequence[str] = (),
        shared: Mapping[str, Any] | None = None,
    ) -> BuiltEngine:
        """Build an engine from an uploaded model, or take it from the store; ``deadline`` in seconds.

        ``model_digest`` and ``external`` are what ``put_model`` returned. ``options`` has ``calibration`` (digest),
        ``plugins`` (digests) and the runtime's own options. ``more`` states that another build follows. ``shared`` is
        the record of an uploaded engine that an equal board has built; it replaces a build unless its key or power mode
        differ.

        Raises:
            Unsupported: the runtime cannot build this model or precision.
            EngineBuildError: the build failed, with the runtime's message.
            WorkerLost: the build process died or exceeded ``deadline``.
        """
        order = {"model": model_digest, "precision": precision, "runtime": runtime, "options": dict(options)}
        how = {"deadline": deadline, "more": more, "external": list(external), "shared": shared}
        answer = self.call("build", dict(order, **how))[0]
        with self.reading():
            return built_engine(answer, runtime)

    def find(self, model_digest: str, precision: str, runtime: str, options: Mapping[str, Any]) -> Found:
        """Return the key of the engine that ``build`` would return for these arguments, and whether it is stored."""
        order = {"model": model_digest, "precision": precision, "runtime": runtime, "options": dict(options)}
        answer = self.call("build", dict(order, find=True))[0]
        with self.reading():
            return found_engine(answer)

    def adopt(
        self, digest: str, precision: str, runtime: str, options: Mapping[str, Any], external: Sequence[str] = ()
    ) -> BuiltEngine:
        """Register an uploaded engine file that was built elsewhere, with the ``precision`` that the caller states.

        ``external`` is as for ``build``; ``options`` has only what loading needs (``plugins``, ``dla``, ``gpu``). The
        engine's ``facts`` contain ``foreign``. Raises ``LabError`` if the file was not uploaded.
        """
        order = {"digest": digest, "precision": precision, "runtime": runtime, "options": dict(options)}
        answer = self.call("adopt", dict(order, external=list(external)))[0]
        with self.reading():
            return built_engine(answer, runtime)

    def load(
        self, engine_key: str, options: Mapping[str, Any], deadline: float, *, fresh: bool = True, more: int = 0
    ) -> EngineWorker:
        """Load an engine of the target's store into a worker process of its own.

        Raises like ``build``.

        ``fresh=False`` allows a process that has imported the runtime before, which is quicker but distorts load times
        and memory. ``more`` is how many fresh loads of the same runtime follow; the target may start their processes
        early.
        """
        order = {"key": engine_key, "options": dict(options), "deadline": deadline, "fresh": fresh, "more": more}
        loaded = self.call("load", order)[0]
        with self.reading():
            return EngineWorker(self, loaded)
