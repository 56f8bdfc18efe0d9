"""Define the request by which a session is opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hil.session.validation_data import Opened
from hil.session.watched_files import Sources

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hil.baseline import Baseline
    from hil.config.load import Config
    from hil.plan import Plan
    from hil.pools.pool_board import PoolBoard


@dataclass(frozen=True)
class Request:
    """What a session is to do, and on which target.

    Attributes:
        config: the config.
        target: the name of the requested target.
        fallback: what to do if the target is unavailable: ``cpu`` uses this machine's CPU instead, ``skip`` reports the
            rows as not run, ``fail`` raises ``LabError``.
        wait: how many seconds to wait for a target that another run holds.
        run_id: the id of the run; its processes can hold one target together.
        report_dir: the folder of the report.
        progress: receives the lines that report the progress.
        runs: the number of fresh processes that time each engine; ``None`` for ``measure.runs``.
        over: the seconds over which the runs of each model are spread; 0 if they are to follow each other.
        baseline: the earlier run with which this one is compared; ``None`` for no comparison.
        sources: watches the files that were read before the session opened.
        opened: models and data that were opened before the session.
        plan: the rows of the run; ``None`` for all rows of ``config`` for ``target``.
        board: the board to use, if the target is several boards: it is held already, with its own token.
        unreachable: why no board can be used, if the target is several boards; else empty.
        attempt: identifies the process that measures, if the target is several boards. Saved series of other attempts
            are not used, since another board may have measured them.
        explains: whether to search for the node at fault if a comparison fails, which builds further engines.
    """

    config: Config
    target: str
    fallback: str
    wait: float
    run_id: str
    report_dir: Path
    progress: Callable[[str], None]
    runs: int | None = None
    over: float = 0.0
    baseline: Baseline | None = None
    sources: Sources = field(default_factory=Sources)
    opened: Opened = field(default_factory=Opened)
    plan: Plan | None = None
    board: PoolBoard | None = None
    unreachable: str = ""
    attempt: str = ""
    explains: bool = True
