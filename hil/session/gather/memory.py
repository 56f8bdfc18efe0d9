"""Measure the memory of one fresh process for each engine, from importing the runtime to the end of a soak."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hil.checks import memory
from hil.session.amendments.row_facts import Facts, RunValues
from hil.session.gather.gathered import Gathered
from hil.session.sampling.sampling import feeds_of
from hil.session.target import contract_method

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from hil.config.fields import SoakLength
    from hil.results import Judgement, Limit, Row
    from hil.session.engine_context import EngineContext
    from hil.state import Finding
    from hil.targets.answers import DeviceUse
    from hil.targets.engine_worker import EngineWorker

SAMPLED = "highest of samples taken each 20 ms and after each request"
DEADLINE = 600.0
"""Seconds after which a soak ends if its length is a number of inferences (``EngineWorker.soak``)."""
NOT_READ = "not readable"


@dataclass(frozen=True)
class Use:
    """The memory of one process, in bytes; n is the number of readings during the soak.

    Attributes:
        baseline: host memory before the engine was loaded.
        peak: the highest host memory.
        peak_is_exact: whether the kernel's peak could be reset before the engine was loaded.
        pss: proportional set size of the process; ``None`` if not readable.
        system_used: the used memory of the whole system; ``None`` if not readable.
        system_total: the memory of the whole system; ``None`` if not readable.
        runs: inferences done at each reading, shape (n,).
        seconds: how long the soak took.
        resident: host memory at each reading, shape (n,).
        has_device: whether the engine ran on a device.
        device: the device's memory; with ``has_device``, ``None`` if it could not be read.
        on_device: device memory at each reading, shape (n,); ``None`` without readings.
        by_process: whether ``on_device`` counts this process alone; otherwise it counts all processes.
        trimmed: whether the process returned its freed memory before the soak.
        findings: the disturbances.
    """

    baseline: float
    peak: float
    peak_is_exact: bool
    pss: float | None
    system_used: float | None
    system_total: float | None
    runs: npt.NDArray[np.int64]
    seconds: float
    resident: npt.NDArray[np.int64]
    has_device: bool = False
    device: DeviceUse | None = None
    on_device: npt.NDArray[np.int64] | None = None
    by_process: bool = False
    trimmed: bool = False
    findings: tuple[Finding, ...] = ()

    @property
    def unified(self) -> bool:
        """Whether CPU and GPU share their memory."""
        return self.device is not None and self.device.unified

    def counted(self, host: float, part: str) -> float | None:
        """Return the bytes that count against a limit; ``None`` if the device's memory could not be read.

        ``host`` are the bytes of host memory, and ``part`` is the corresponding field of ``device``. If the engine ran
        on a device, the result is that of ``hil.checks.memory.footprint``, otherwise it is ``host``.
        """
        if not self.has_device:
            return host
        if self.device is None:
            return None
        reading = getattr(self.device, part)
        return memory.footprint(host, reading, unified=self.unified, includes_host=self.device.includes_host)


def peak(session: EngineContext, row: Row) -> Gathered:
    """Judge ``memory.peak`` of one fresh process."""
    use, *others = _uses(session, row)
    details: dict[str, Any] = {"baseline": use.baseline, "pss": use.pss, "resident": _thinned(use)}
    what = "the worker's peak"
    if use.has_device:
        what = f"the worker's peak on the GPU ({_source(use)})"
        baseline = use.counted(use.baseline, "baseline")
        build_peak = session.engines.provisioned(row.model, row.precision).engine.peak
        details.update(baseline=baseline, host_peak=use.peak, host_baseline=use.baseline, build_peak=build_peak)
        details["device_memory_size"] = session.engines.facts(row.model, row.precision).get("device_memory_size")
    judgement = memory.peak(use.counted(use.peak, "peak"), row.limit, details, what)
    peaks = [peak for each in (use, *others) if (peak := each.counted(each.peak, "peak")) is not None]
    values = tuple(peaks) if len(peaks) == 1 + len(others) > 1 else ()
    runs = RunValues(values, findings=tuple(finding for each in others for finding in each.findings))
    return _gathered(session, use, judgement, "VmHWM of the worker", runs)


def model(session: EngineContext, row: Row) -> Gathered:
    """Judge ``memory.model``: the peak of the process minus its memory before the engine was loaded."""
    use = _use(session, row)
    used, baseline = use.counted(use.peak, "peak"), use.counted(use.baseline, "baseline")
    return _gathered(session, use, memory.increment(used, baseline, row.limit), "VmHWM less baseline")


def system(session: EngineContext, row: Row) -> Gathered:
    """Judge ``memory.system``: the memory in use on the machine, or on the GPU if it has its own memory."""
    use = _use(session, row)
    used, total = use.system_used, use.system_total
    measured = "MemTotal less MemAvailable, engine loaded"
    if use.has_device and not use.unified:
        used = None if use.device is None else use.device.system_used
        total = None if use.device is None else use.device.system_total
        measured = "memory of the whole GPU in use, engine loaded"
    return _gathered(session, use, memory.system(used, total, row.limit), measured)


def engine_size(session: EngineContext, row: Row) -> Gathered:
    """Judge ``memory.engine_size``: the size of the engine's file."""
    size = session.engines.provisioned(row.model, row.precision).engine.size
    return Gathered(memory.engine_size(float(size), row.limit), {"version": 1, "measured": "size of the engine's file"})


def growth(session: EngineContext, row: Row) -> Gathered:
    """Judge ``memory.growth``: how much the memory of the process grows over the soak."""
    use = _use(session, row)
    judgement, measured = _judged_growth(session, use, row.limit)
    return _gathered(session, use, judgement, measured)


def _judged_growth(session: EngineContext, use: Use, limit: Limit | None) -> tuple[Judgement, str]:
    """Return the judgement of the growth over the soak of ``use``, and what was measured, as text."""
    level = session.config.spec.measure.confidence
    watched: npt.NDArray[Any] = use.resident
    measured = "RSS over a soak"
    if use.has_device:
        whole = use.unified and not use.by_process
        watched = memory.soaked(use.resident, use.on_device, unified=whole)
        used = "the machine's memory in use" if whole else "RSS and the GPU's memory in use"
        source = f"of the worker alone ({use.device.source})" if use.by_process and use.device else "of all processes"
        measured = f"{used}, {source}, over a soak"
    unseen = memory.hidden(trimmed=use.trimmed, has_device=use.has_device)
    fewest = session.config.spec.measure.soak_length.fewest
    return memory.growth(use.runs, watched, limit, level, unseen=unseen, fewest=fewest), measured


def _gathered(
    session: EngineContext, use: Use, judgement: Judgement, measured: str, runs: RunValues | None = None
) -> Gathered:
    method = {**_method(session, use, measured), **contract_method.method(session.spec, timed=False)}
    return Gathered(judgement, method, Facts(runs=runs, findings=use.findings))


def _use(session: EngineContext, row: Row) -> Use:
    return session.memo.once(("memory", row.model, row.precision), lambda: _watch(session, row))


def _uses(session: EngineContext, row: Row) -> list[Use]:
    """Return the memory use of the process that all memory checks share, then that of each further run's process."""
    more = range(max(0, session.runs - 1))
    others = session.memo.once(
        ("memory of runs", row.model, row.precision), lambda: [_watch(session, row) for _ in more]
    )
    return [_use(session, row), *others]


def _watch(session: EngineContext, row: Row) -> Use:
    spec = session.config.spec.measure
    feeds = feeds_of(session, row.model, session.model(row.model).batch)
    session.engines.provisioned(row.model, row.precision)  # build before the state is watched
    with session.state.watching(timed=False) as disturbances, session.engines.fresh(row.model, row.precision) as worker:
        worker.first(feeds[0])
        has_device = worker.executed_on is not None or worker.memory().device is not None
        limit = _limit(session, row)
        length = spec.soak_length.settling(_needed(limit, has_device=has_device))
        use = _soaked(session, row, worker, feeds[0], length, has_device=has_device)
        if length.longest and limit is not None:
            judged, possible = _judged_growth(session, use, limit)[0], use.runs[-1] / use.seconds * length.longest
            if memory.worth_repeating(judged, limit, float(possible), has_device=has_device):
                # One buffer that is allocated late, or a cache that still fills, looks like a leak in a short soak.
                use = _soaked(session, row, worker, feeds[0], length.repeated(), has_device=has_device)
    return replace(use, findings=tuple(disturbances.findings))


def _soaked(  # noqa: PLR0913 - the row, its worker, and how long
    session: EngineContext,
    row: Row,
    worker: EngineWorker,
    feed: dict[str, Any],
    length: SoakLength,
    *,
    has_device: bool,
) -> Use:
    """Run one soak in ``worker``, and return the memory of the process since it began."""
    text = f"{row.model} {row.precision}: memory over {length}"
    with session.progress.step(text, seconds=length.seconds or DEADLINE):
        soak = worker.soak(
            feed, length.most, length.seconds, length.fewest, settled=length.settled, longest=length.longest
        )
    use, baseline = worker.memory(), float(worker.load["memory_before"])
    used = None if use.system_available is None or use.system_total is None else use.system_total - use.system_available
    total = None if use.system_total is None else float(use.system_total)
    return Use(
        baseline=baseline,
        peak=float(use.peak_rss),
        peak_is_exact=use.peak_reset,
        pss=None if use.pss is None else float(use.pss),
        system_used=None if used is None else float(used),
        system_total=total,
        runs=soak.runs,
        seconds=float(soak.t[-1]),
        resident=soak.rss,
        has_device=has_device,
        device=use.device,
        on_device=soak.device,
        by_process=soak.by_process,
        trimmed=soak.trimmed,
    )


def _limit(session: EngineContext, row: Row) -> Limit | None:
    """Return the limit of ``memory.growth`` for the row's model and precision; ``None`` without such a row or limit."""
    rows = session.plan.of("memory.growth")
    limits = (one.limit for one in rows if (one.model, one.precision) == (row.model, row.precision))
    return next(limits, None)


def _needed(limit: Limit | None, *, has_device: bool) -> int:
    """Return how many inferences are enough to judge ``limit``; 0 without a limit, or if no number is enough."""
    return (
        0 if limit is None else math.ceil(memory.SETTLING * (memory.fewest_to_pass(limit, has_device=has_device) or 0))
    )


def _method(session: EngineContext, use: Use, measured: str) -> dict[str, Any]:
    method: dict[str, Any] = {
        "version": 1,
        "measured": measured,
        "process": "fresh",
        "soak": session.config.spec.measure.soak_length.method(),
        "freed_memory": "returned before the soak" if use.trimmed else "kept",
        "high_water_mark": "reset before loading" if use.peak_is_exact else "since the process began",
        "shared_io_buffer": "left out",
    }
    if use.has_device:
        pool = "shared by CPU and GPU" if use.unified else "the GPU's own"
        method.update(source=_source(use), pool=pool, device_peak=SAMPLED)
    return method


def _source(use: Use) -> str:
    return NOT_READ if use.device is None else use.device.source


def _thinned(use: Use, most: int = 200) -> dict[str, list[int]]:
    step = max(1, use.runs.size // most)
    thinned = {"runs": [int(n) for n in use.runs[::step]], "rss": [int(n) for n in use.resident[::step]]}
    if use.on_device is not None:
        thinned["device"] = [int(n) for n in use.on_device[::step]]
    return thinned
