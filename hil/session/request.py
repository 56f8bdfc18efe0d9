"""Define the request by which a session is opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hil.session.watched_files import Sources

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hil.baseline import Baseline
    from hil.config.load import Config
    from hil.plan import Plan


@dataclass(frozen=True)
class Request:
    """What a session is to do, and on which target.

    ``fallback`` is what to do if the target is unavailable: ``cpu`` uses the CPU of this machine instead, ``skip``
    reports the rows as not run, and ``fail`` raises ``LabError``. ``wait`` is how many seconds to wait for a target
    that another run holds. All processes of one run have the same ``run_id``, so that they can hold one target
    together. ``runs`` is the number of fresh processes that time each engine; ``None`` means ``measure.runs``.
    ``baseline`` is ``None`` if the run is not compared with a baseline. ``sources`` watches the files that were read
    before the session opened. ``plan`` has the rows of the run; ``None`` means all rows of ``config`` for ``target``.
    """

    config: Config
    target: str
    fallback: str
    wait: float
    run_id: str
    report_dir: Path
    progress: Callable[[str], None]
    runs: int | None = None
    baseline: Baseline | None = None
    sources: Sources = field(default_factory=Sources)
    plan: Plan | None = None
