"""What an agent's answers are on the host: small frozen types, and errors by kind."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hil.errors import (
    DeployRefused,
    EngineBuildError,
    EngineError,
    HilError,
    LabError,
    TargetHeld,
    Unsupported,
    WorkerLost,
)
from hil.onnx_files.signature import TensorSpec
from hil.text import joined

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

DIGEST = re.compile("[0-9a-f]{64}")
MOST_FILE = 64 << 30  # bytes: the memory of the largest Jetson, and no engine is larger than what has to hold it
KINDS: dict[str, type[HilError]] = {
    "build": EngineBuildError,
    "deadline": WorkerLost,
    "died": WorkerLost,
    "engine": EngineError,
    "held": TargetHeld,
    "release": DeployRefused,
    "unsupported": Unsupported,
}


@dataclass(frozen=True)
class BuiltEngine:
    """An engine in the target's store: ``digest`` and ``size`` (bytes) of its file, ``seconds`` its build took.

    ``cached`` tells that the store had it already; ``facts`` is what ``key`` is the digest of. ``about`` is
    what the build recorded (caches, calibration, flags), ``peak`` the memory it took (bytes), if it was watched.
    """

    key: str
    digest: str
    size: int
    seconds: float
    cached: bool
    runtime: str
    runtime_version: str
    log: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    peak: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Timed:
    """Samples of one timed window: release times and host-to-host durations, float64 seconds, shape (n,).

    ``device`` has the seconds of each on the device's own clock, of the same shape; ``None`` without such a clock.
    """

    start: npt.NDArray[np.float64]
    duration: npt.NDArray[np.float64]
    warmup_runs: int
    method: dict[str, Any]
    telemetry: dict[str, Any]
    device: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True)
class NodeTime:
    """Mean ``seconds`` a run of one node under the runtime's own profiler."""

    name: str
    op: str
    seconds: float


@dataclass(frozen=True)
class DeviceUse:
    """Bytes of the worker on its GPU, read from outside; ``None`` is not readable, never nothing.

    ``source`` says where ``baseline`` (context and runtime, before the engine), ``peak`` (highest of the samples)
    and ``now`` are read. ``unified``: the GPU's memory is the machine's. ``includes_host``: the three are of
    the worker's resident memory too. ``system_used`` and ``system_total`` are the whole GPU's, or the machine's.
    """

    source: str
    unified: bool
    includes_host: bool
    baseline: int | None
    peak: int | None
    now: int | None
    system_used: int | None
    system_total: int | None


@dataclass(frozen=True)
class MemoryUse:
    """Bytes of the worker and its machine; ``shared_bytes`` (tensors in transit) are left out of all others.

    ``peak_rss`` is the kernel's high-water mark over load and runs; ``peak_reset`` tells that it could be
    started anew for each of them. ``pss`` is ``None`` where the kernel does not tell, ``device`` where there is none.
    """

    rss: int
    peak_rss: int
    peak_reset: bool
    pss: int | None
    shared_bytes: int
    system_total: int | None
    system_available: int | None
    device: DeviceUse | None = None


@dataclass(frozen=True)
class Soak:
    """Memory over many inferences: seconds since the start, inferences done, resident bytes; shape (readings,).

    ``device`` is the worker's bytes on the device where it can be told apart (``by_process``), else what is in use
    on the device by all, as its driver tells; ``None`` where there is no device.
    """

    t: npt.NDArray[np.float64]
    runs: npt.NDArray[np.int64]
    rss: npt.NDArray[np.int64]
    device: npt.NDArray[np.int64] | None = None
    by_process: bool = False


def tensor_specs(ports: Sequence[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    """The inputs or outputs as an engine gives them."""
    return tuple(TensorSpec(port["name"], port["dtype"], tuple(port["shape"])) for port in ports)


def error_of(reply: Mapping[str, Any], target: str) -> HilError:
    """The error that a reply carries, as the class that its kind stands for."""
    kind, message, advice = (joined(str(reply.get(name, ""))) for name in ("kind", "message", "advice"))
    if kind == "held":
        message = f"the target is {message}"
    return KINDS.get(kind, LabError)(f"{message}: on target {target!r}" + (f": {advice}" if advice else ""))


def digest_in(value: Any) -> str:
    """A digest that a board told: it becomes part of a path here. Raises ``ValueError`` for anything else."""
    if not isinstance(value, str) or not DIGEST.fullmatch(value):
        raise ValueError(f"{str(value)[:80]!r} is no SHA-256 digest")
    return value


def size_in(value: Any, most: int = MOST_FILE) -> int:
    """Bytes that a board told. Raises ``ValueError`` for what is no number of bytes, or more than ``most``."""
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{str(value)[:80]!r} is no size from 0 to {most}")
    return value


def built_engine(made: Mapping[str, Any], runtime: str) -> BuiltEngine:
    """The engine of an answer. Raises ``ValueError``, ``KeyError`` or ``TypeError`` for what is none."""
    return BuiltEngine(
        key=digest_in(made["key"]),
        digest=digest_in(made["digest"]),
        size=size_in(made["size"]),
        seconds=float(made["seconds"]),
        cached=made["cached"],
        runtime=runtime,
        runtime_version=str(made["facts"]["runtime_version"]),
        log=str(made["log"]),
        facts=made["facts"],
        about=made.get("about") or {},
        peak=made.get("peak"),
    )
