"""Defines the host's types for an agent's answers: frozen data classes, and the error class of each error kind."""

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
MOST_FILE = 64 << 30  # bytes: the memory of the largest Jetson; an engine has to fit into it
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
    """An engine in the target's store: ``digest`` and ``size`` (bytes) of its file, ``seconds`` that its build took.

    ``cached`` is true if the store already had the engine; ``key`` is the digest of ``facts``. ``about`` is what the
    build recorded (caches, calibration, flags). ``peak`` has the highest memory use of the build in bytes: ``rss`` on
    the host and ``device`` on the GPU, whose figure comes from ``source``. It is ``None`` if no GPU was watched.
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
    """Samples of one timed window: start times and host-to-host durations, float64 seconds, shape (n,).

    Start times are by the worker's monotonic clock. ``device`` has the seconds of each inference by the device's own
    clock, in the same shape; ``None`` if the runtime has no such clock.
    """

    start: npt.NDArray[np.float64]
    duration: npt.NDArray[np.float64]
    warmup_runs: int
    method: dict[str, Any]
    telemetry: dict[str, Any]
    device: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True)
class NodeTime:
    """The time that one node takes, by the runtime's own profiler: mean ``seconds`` per inference."""

    name: str
    op: str
    seconds: float


@dataclass(frozen=True)
class DeviceUse:
    """Bytes that the worker uses on its GPU. ``None`` means that a figure is unreadable, not that it is zero.

    ``baseline`` (context and runtime, before the engine is loaded), ``peak`` (highest sample) and ``now`` are read from
    ``source``. They also count the worker's resident memory if ``includes_host`` is true. ``unified`` is true if GPU
    and CPU share the machine's memory. ``system_used`` and ``system_total`` are figures of the whole machine if
    ``unified``, otherwise of the whole GPU.
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
    """Memory of the worker and its machine, in bytes.

    ``rss``, ``peak_rss`` and ``pss`` exclude ``shared_bytes`` (tensors in transit). ``peak_rss`` is the kernel's
    high-water mark during the load and the inferences. ``peak_reset`` is true if the kernel could reset the mark before
    the load and before the inferences; if false, the mark also covers other times. ``pss`` is ``None`` if the kernel
    does not report it; ``device`` is ``None`` if there is no GPU.
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
    """Readings of memory over many inferences. Each array has one value per reading, shape (readings,).

    ``t`` is in seconds since the start, ``runs`` counts the inferences done, ``rss`` is resident memory in bytes.

    ``device`` is the worker's own bytes on the device if the driver reports them per process (``by_process``),
    otherwise the bytes in use on the device by all processes; ``None`` without a device. ``trimmed`` is whether the
    process first returned the memory that it had freed.
    """

    t: npt.NDArray[np.float64]
    runs: npt.NDArray[np.int64]
    rss: npt.NDArray[np.int64]
    device: npt.NDArray[np.int64] | None = None
    by_process: bool = False
    trimmed: bool = False


def tensor_specs(ports: Sequence[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    """Return the specs of the inputs or outputs that an engine reported."""
    return tuple(TensorSpec(port["name"], port["dtype"], tuple(port["shape"])) for port in ports)


def error_of(reply: Mapping[str, Any], target: str) -> HilError:
    """Return the exception for an agent's error reply. ``KINDS`` has its class by the reply's ``kind``.

    For any other kind, the exception is a ``LabError``. ``target`` is the target's name in the message.
    """
    kind, message, advice = (joined(str(reply.get(name, ""))) for name in ("kind", "message", "advice"))
    if kind == "held":
        message = f"the target is {message}"
    return KINDS.get(kind, LabError)(f"{message}: on target {target!r}" + (f": {advice}" if advice else ""))


def digest_in(value: Any) -> str:
    """Return ``value`` if it is a SHA-256 in lowercase hex. Raise ``ValueError`` if not: callers put it into a path."""
    if not isinstance(value, str) or not DIGEST.fullmatch(value):
        raise ValueError(f"{str(value)[:80]!r} is not a SHA-256 digest")
    return value


def size_in(value: Any, most: int = MOST_FILE) -> int:
    """Return ``value`` if it is an integer from 0 to ``most`` (bytes). Raises ``ValueError`` if not."""
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{str(value)[:80]!r} is not a size from 0 to {most}")
    return value


def built_engine(answer: Mapping[str, Any], runtime: str) -> BuiltEngine:
    """Return the engine in an answer. A malformed answer raises ``ValueError``, ``KeyError`` or ``TypeError``."""
    return BuiltEngine(
        key=digest_in(answer["key"]),
        digest=digest_in(answer["digest"]),
        size=size_in(answer["size"]),
        seconds=float(answer["seconds"]),
        cached=answer["cached"],
        runtime=runtime,
        runtime_version=str(answer["facts"]["runtime_version"]),
        log=str(answer["log"]),
        facts=answer["facts"],
        about=answer.get("about") or {},
        peak=answer.get("peak"),
    )
