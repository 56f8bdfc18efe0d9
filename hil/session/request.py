"""What a run asks of a session."""

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
    """Which target under which config; ``fallback`` is cpu, skip or fail; ``wait`` is in seconds.

    ``run_id`` is shared by all processes of one run: it is what lets them hold one target together.
    ``runs`` is how often engines are timed in a fresh process each; None leaves it to ``measure.runs``.
    ``baseline`` is what the run is compared with, if it is. ``sources`` are the files that are watched already.
    ``plan`` has the rows of the run; without it the session plans ``config`` for ``target`` itself.
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
