"""The request for a session."""

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
    """The target and config of a session; ``fallback`` is cpu, skip or fail.

    ``wait`` is how many seconds to wait for a target that another run holds. All processes of one run share
    ``run_id``, so that they can hold one target together. ``runs`` is how many fresh processes time each engine;
    ``None`` means ``measure.runs``. ``baseline`` is ``None`` if the run is not compared with a baseline. ``sources``
    are the files that are watched already. ``plan`` has the rows of the run; if it is ``None``, the session plans
    ``config`` for ``target``.
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
