"""Memory: one fresh process an engine, watched from the bare runtime through a soak."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hil.checks import memory
from hil.session.gather.gathered import Gathered
from hil.session.gather.timing import feeds_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from hil.model import Row
    from hil.session.core import Session


@dataclass(frozen=True)
class Use:
    """What one process used, in bytes; ``runs`` and ``resident`` are the soak's readings, shape (n,)."""

    baseline: float
    peak: float
    peak_is_exact: bool
    pss: float | None
    system_used: float | None
    system_total: float | None
    runs: npt.NDArray[np.int64]
    resident: npt.NDArray[np.int64]


def peak(session: Session, row: Row) -> Gathered:
    """``memory.peak``."""
    use = _use(session, row)
    details = {"baseline": use.baseline, "pss": use.pss, "resident": _thinned(use)}
    return Gathered(memory.peak(use.peak, row.limit, details), _method(session, use, "VmHWM of the worker"))


def model(session: Session, row: Row) -> Gathered:
    """``memory.model``."""
    use = _use(session, row)
    return Gathered(memory.increment(use.peak, use.baseline, row.limit), _method(session, use, "VmHWM less baseline"))


def system(session: Session, row: Row) -> Gathered:
    """``memory.system``."""
    use = _use(session, row)
    judgement = memory.system(use.system_used, use.system_total, row.limit)
    return Gathered(judgement, _method(session, use, "MemTotal less MemAvailable, engine loaded"))


def engine_size(session: Session, row: Row) -> Gathered:
    """``memory.engine_size``."""
    size = session.engines.provisioned(row.model, row.precision).engine.size
    return Gathered(memory.engine_size(float(size), row.limit), {"version": 1, "measured": "size of the engine's file"})


def growth(session: Session, row: Row) -> Gathered:
    """``memory.growth``."""
    use = _use(session, row)
    level = session.config.spec.measure.confidence
    judgement = memory.growth(use.runs, use.resident, row.limit, level)
    return Gathered(judgement, _method(session, use, "RSS over a soak"))


def _use(session: Session, row: Row) -> Use:
    return session.memo.once(("memory", row.model, row.precision), lambda: _watch(session, row))


def _watch(session: Session, row: Row) -> Use:
    spec = session.config.spec.measure
    feeds = feeds_of(session, row.model, session.model(row.model).batch)
    session.progress(f"{row.model} {row.precision}: memory over {spec.soak} inferences")
    with session.engines.fresh(row.model, row.precision) as worker:
        worker.first(feeds[0])
        soak = worker.soak(feeds[0], spec.soak)
        use = worker.memory()
        baseline = float(worker.load["memory_before"])
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
        resident=soak.rss,
    )


def _method(session: Session, use: Use, measured: str) -> dict[str, Any]:
    return {
        "version": 1,
        "measured": measured,
        "process": "fresh",
        "soak": session.config.spec.measure.soak,
        "high_water_mark": "reset before loading" if use.peak_is_exact else "since the process began",
        "shared_io_buffer": "left out",
    }


def _thinned(use: Use, most: int = 200) -> dict[str, list[int]]:
    step = max(1, use.runs.size // most)
    return {"runs": [int(n) for n in use.runs[::step]], "rss": [int(n) for n in use.resident[::step]]}
