"""The host's types for an agent's answers: frozen data classes, and the error class of each error kind."""

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
    build recorded (caches, calibration, flags). ``peak`` is the build's peak memory use (bytes), ``None`` if it was
    not watched.
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

    ``device`` has the seconds of each inference by the device's own clock, in the same shape; ``None`` if the runtime
    has no such clock.
    """

    start: npt.NDArray[np.float64]
    duration: npt.NDArray[np.float64]
    warmup_runs: int
    method: dict[str, Any]
    telemetry: dict[str, Any]
    device: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True)
class NodeTime:
    """Mean ``seconds`` per inference that one node takes under the runtime's own profiler."""

    name: str
    op: str
    seconds: float


@dataclass(frozen=True)
class DeviceUse:
    """Bytes that the worker uses on its GPU. ``None`` means that a figure is unreadable, not that it is zero.

    ``baseline`` (context and runtime, before the engine is loaded), ``peak`` (highest sample) and ``now`` are read
    from ``source``. ``unified``: GPU and CPU share the machine's memory. ``includes_host``: the three figures also
    count the worker's resident memory. ``system_used`` and ``system_total`` are those of the whole GPU, or those of
    the machine if ``unified``.
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
    high-water mark over load and inferences; ``peak_reset`` is true if the kernel could reset the mark before each of
    them. ``pss`` is ``None`` if the kernel does not report it; ``device`` is ``None`` if there is no GPU.
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

    ``device`` is the worker's own bytes on the device if the driver reports them per process (``by_process``),
    otherwise the bytes in use on the device by all processes; ``None`` without a device.
    """

    t: npt.NDArray[np.float64]
    runs: npt.NDArray[np.int64]
    rss: npt.NDArray[np.int64]
    device: npt.NDArray[np.int64] | None = None
    by_process: bool = False


def tensor_specs(ports: Sequence[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    """Return the specs of the inputs or outputs that an engine reported."""
    return tuple(TensorSpec(port["name"], port["dtype"], tuple(port["shape"])) for port in ports)


def error_of(reply: Mapping[str, Any], target: str) -> HilError:
    """Return an agent's error reply as an error of the class for its ``kind``; ``LabError`` for any other kind."""
    kind, message, advice = (joined(str(reply.get(name, ""))) for name in ("kind", "message", "advice"))
    if kind == "held":
        message = f"the target is {message}"
    return KINDS.get(kind, LabError)(f"{message}: on target {target!r}" + (f": {advice}" if advice else ""))


def digest_in(value: Any) -> str:
    """Return ``value`` if it is a SHA-256 in hex, else raise ``ValueError``: it becomes part of a path on the host."""
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
