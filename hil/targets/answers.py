"""Defines the host's types for an agent's answers: frozen data classes, and the error class of each error kind."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

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

    from hil.stats.control import ControlSeries

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
    """An engine in the target's store.

    Attributes:
        key: the digest of ``facts``.
        digest, size: SHA-256 and bytes of its file.
        seconds: how long its build took.
        cached: whether the store already had it.
        log: the runtime's build log.
        about: what the build recorded (caches, calibration, flags).
        peak: the highest memory use of the build: ``rss`` (bytes on the host), ``device`` (bytes on the GPU) and
            ``source`` (what ``device`` was read from); ``None`` if no GPU was watched.
        power_mode: the number of the power mode in which it was built; ``None`` if unknown.
        built_on: the equal board that built it; ``None`` if the target did.
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
    power_mode: str | None = None
    built_on: str | None = None


class Found(NamedTuple):
    """The key of an engine, whether the target's store has it, and the target's power mode (``None`` if unknown)."""

    key: str
    stored: bool
    power_mode: str | None


@dataclass(frozen=True)
class Timed:
    """Samples of one timed window: start times and host-to-host durations, float64 seconds, shape (n,).

    ``start`` is by the worker's monotonic clock. ``device`` has the durations by the device's clock, shape (n,);
    ``None`` without such a clock. ``control`` is the control that was timed in the same window; ``None`` without one.
    """

    start: npt.NDArray[np.float64]
    duration: npt.NDArray[np.float64]
    warmup_runs: int
    method: dict[str, Any]
    telemetry: dict[str, Any]
    device: npt.NDArray[np.float64] | None = None
    control: ControlSeries | None = None


@dataclass(frozen=True)
class NodeTime:
    """The time that one node takes, by the runtime's own profiler: mean ``seconds`` per inference."""

    name: str
    op: str
    seconds: float


@dataclass(frozen=True)
class DeviceUse:
    """Bytes that the worker uses on its GPU. ``None`` means that a figure is unreadable, not that it is zero.

    Attributes:
        source: what ``baseline``, ``peak`` and ``now`` are read from.
        unified: whether GPU and CPU share the machine's memory.
        includes_host: whether ``baseline``, ``peak`` and ``now`` include the worker's resident memory.
        baseline: context and runtime, before the engine is loaded.
        peak, now: highest and last sample.
        system_used, system_total: memory of the machine if ``unified``, otherwise of the GPU.
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

    Attributes:
        rss, peak_rss, pss: the worker's memory without ``shared_bytes``; ``pss`` is ``None`` if unknown.
        peak_reset: whether ``peak_rss`` covers only the load and the inferences.
        shared_bytes: tensors in transit.
        device: memory on the GPU; ``None`` without a GPU.
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

    Attributes:
        t: seconds since the start.
        runs: inferences done.
        rss: resident memory in bytes.
        device: bytes on the device: the worker's own if ``by_process``, otherwise of all processes; or ``None``.
        by_process: whether ``device`` is known for the worker alone.
        trimmed: whether the process returned the memory that it had freed to the system, once, before the readings.
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
    """Return the exception for ``reply``, an agent's error reply, by its ``kind`` in ``KINDS``.

    An unknown kind gives a ``LabError``. ``target`` is the target's name in the message.
    """
    kind, message, advice = (joined(str(reply.get(name, ""))) for name in ("kind", "message", "advice"))
    if kind == "held":
        message = f"the target is {message}"
    return KINDS.get(kind, LabError)(f"{message}: on target {target!r}" + (f": {advice}" if advice else ""))


def digest_in(value: Any) -> str:
    """Return ``value`` if it is a SHA-256 in lowercase hex. Raise ``ValueError`` if not."""
    if not isinstance(value, str) or not DIGEST.fullmatch(value):
        raise ValueError(f"{str(value)[:80]!r} is not a SHA-256 digest")
    return value


def size_in(value: Any, most: int = MOST_FILE) -> int:
    """Return ``value`` if it is an integer from 0 to ``most`` (bytes). Raises ``ValueError`` if not."""
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{str(value)[:80]!r} is not a size from 0 to {most}")
    return value


def _text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)


def found_engine(answer: Mapping[str, Any]) -> Found:
    """Return the ``Found`` in an answer. A malformed answer raises ``ValueError``, ``KeyError`` or ``TypeError``."""
    return Found(digest_in(answer["key"]), answer["stored"] is True, _text_or_none(answer["power_mode"]))


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
        power_mode=_text_or_none(answer.get("power_mode")),
        built_on=_text_or_none(answer.get("built_on")),
    )
