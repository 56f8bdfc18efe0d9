"""The host's end of one agent: what sessions and plugins call."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

from hil.errors import UserError
from hil.onnx_files.external_data import external_files
from hil.targets import file_transfer
from hil.targets.answers import BuiltEngine, built_engine
from hil.targets.calls import AgentCalls
from hil.targets.engine_worker import EngineWorker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    Raw = tuple[dict[str, Any], dict[str, Any], npt.NDArray[np.uint8]]


class AgentClient(AgentCalls):
    """What an agent can be asked for; ``AgentCalls`` has how."""

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
        return file_transfer.put(self, path)

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
        file_transfer.get(self, digest, path, size)

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
