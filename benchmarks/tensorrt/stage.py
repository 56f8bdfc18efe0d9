"""What the benchmarks of TensorRT share: the interpreter, a store, an agent, and one network's engine file."""

from __future__ import annotations

import secrets
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from benchmarks import networks, results
from benchmarks.projects import TARGET
from hil.config.spec import TargetSpec
from hil.targets.target import open_target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

    from hil.targets.answers import BuiltEngine
    from hil.targets.client import AgentClient

RUNTIME: Literal["tensorrt"] = "tensorrt"
BUILD_DEADLINE = 900.0
LOAD_DEADLINE = 120.0


@dataclass
class Stage:
    """The setting: ``python`` has TensorRT, ``out`` receives the results, ``work`` has the networks and the store.

    Only the suites use ``level`` (TensorRT's optimization level), ``select`` (pytest's ``-k``) and ``models`` (the
    models to run on). With ``kept``, the suites' complete reports in ``work`` are reused.
    """

    python: str
    out: Path
    work: Path
    network: str = "resnet50"
    precision: str = "fp16"
    quick: bool = False
    board: str | None = None
    level: int | None = None
    select: str = ""
    models: tuple[str, ...] = ()
    kept: bool = False
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        """The agent's store, shared by all benchmarks, so that each engine is built once."""
        return self.work / "store"

    @property
    def networks(self) -> Path:
        """The folder of the exported networks."""
        return self.work / "networks"

    def exported(self, name: str) -> Path:
        """Return the network's ONNX file; export it if it does not exist."""
        path = self.networks / f"{name}.onnx"
        if not path.exists():
            self.networks.mkdir(parents=True, exist_ok=True)
            try:
                networks.export(name, self.networks)
            except ImportError as error:
                raise SystemExit(f"{name} cannot be exported: {error}: install torch and torchvision") from None
        return path

    def feed(self) -> dict[str, npt.NDArray[Any]]:
        """Return one validation sample of the network."""
        self.exported(self.network)
        with np.load(self.networks / f"{self.network}-validation.npz", allow_pickle=False) as archive:
            return {name: archive[name][:1] for name in archive.files}

    def feed_file(self) -> Path:
        """Write ``feed`` to a file for scripts and return its path."""
        path = self.work / f"{self.network}-feed.npz"
        np.savez(path, **self.feed())  # type: ignore[arg-type, unused-ignore]  # newer stubs confuse it with allow_pickle
        return path

    def spec(self) -> TargetSpec:
        """Return the target as ``hil.toml`` would describe it."""
        table = {"kind": "local", "runtime": RUNTIME, "python": self.python, "store": str(self.store)}
        return TargetSpec.model_validate({**table, "store_size": "32 GiB"})

    @contextmanager
    def agent(self) -> Iterator[AgentClient]:
        """Start an agent that holds the target and has probed it."""
        with open_target(TARGET, self.spec()).start_agent() as agent:
            agent.hold(secrets.token_hex(8), "benchmarks.tensorrt")
            self.versions.update(versions(agent.probe()))
            yield agent

    def build(self, agent: AgentClient, options: Mapping[str, Any] | None = None, *, more: bool = False) -> BuiltEngine:
        """Return the network's engine, from the store if it is there; ``more`` as in ``AgentClient.build``."""
        model = agent.put_blob(self.exported(self.network))
        return agent.build(model, self.precision, RUNTIME, dict(options or {}), BUILD_DEADLINE, more=more)

    def plan(self, agent: AgentClient, engine: BuiltEngine) -> Path:
        """Return the path of the engine's file, copied from the store."""
        path = self.work / f"{engine.digest[:16]}.plan"
        if not path.exists():
            agent.get_blob(engine.digest, path)
        return path

    def keep(self, benchmark: str, rows: list[dict[str, Any]]) -> int:
        """Write the result and print its bars; return the exit code."""
        # Keep only the last part of each path: the machine's folders are private.
        words = [Path(word).name if word.startswith("/") else word for word in sys.argv[1:]]
        command = ["python", "-m", "benchmarks.tensorrt", *words]
        document = results.result(benchmark, rows, command=command, versions=self.versions, quick=self.quick)
        path = results.write(self.out, document)
        for bar in document["bars"]:
            met = "" if bar["met"] else "   MISSED"
            print(f"{bar['name']}: {results.figure_text(bar)}; bar: {bar['sense']} {bar['limit']:g} {bar['unit']}{met}")
        missed = sum(not bar["met"] for bar in document["bars"])
        print(f"{benchmark}: {missed} of {len(document['bars'])} bars missed; bar: none; {path}", flush=True)
        return 0 if document["passed"] else 1


def versions(probe: Mapping[str, Any]) -> dict[str, str]:
    """Return the versions that the figures depend on, from the target's probe and from this host."""
    import platform
    from importlib.metadata import version

    facts = probe.get("facts", {}).get(RUNTIME, {})
    by_name = {
        "tensorrt": probe.get("runtimes", {}).get(RUNTIME),
        "cuda": facts.get("cuda"),
        "gpu": facts.get("gpu"),
        "sm": facts.get("sm"),
        "kernel": probe.get("kernel"),
        "cpu": probe.get("cpu_model"),
        "target python": probe.get("python"),
        "target numpy": probe.get("numpy"),
        "host python": platform.python_version(),
        "host numpy": np.__version__,
        "onnxruntime": version("onnxruntime"),
        "pytest-hil": version("pytest-hil"),
    }
    return {name: str(value) for name, value in by_name.items() if value is not None}
