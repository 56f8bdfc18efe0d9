"""Open the pool of a run, and give the process that measures its board."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil.config.pools import MANY
from hil.errors import HilError, TargetUnreachable, UserError
from hil.plugins import activation
from hil.plugins.run_state import load_config
from hil.pools.lease import Lease
from hil.pools.members import Members
from hil.pools.places import Places
from hil.pools.pool import Pool
from hil.pools.stale_places import places_of

if TYPE_CHECKING:
    import pytest

    from hil.config.load import Config
    from hil.plugins.run_state import RunState
    from hil.pools.pool import Source

ALONE = "run"
"""The name under which a run without pytest-xdist takes its board from the pool."""
SPLITS = (
    "--dist={} may give the checks of one model to different boards, but they must stay on one: on target {!r}: omit "
    "--dist, and whole models are distributed"
)
ELSEWHERE = "--tx {}: the workers of a pool run on this machine: on target {!r}: use -n instead"


def is_pool(run: RunState) -> bool:
    """Return whether the run's target is several boards."""
    return run.config is not None and run.config.target(run.target).kind in MANY


def check_distribution(run: RunState) -> None:
    """Raise ``UserError`` if xdist's options do not fit a target that is several boards."""
    option = run.pytest_config.getoption
    if run.is_worker or not is_pool(run):
        return
    foreign = [spec for spec in option("tx", None) or () if spec.rpartition("*")[2] != "popen"]
    if foreign:
        raise UserError(ELSEWHERE.format(foreign[0], run.target))
    dist = run.pytest_config.stash.get(activation.DIST, "no")
    if dist != "no" and option("numprocesses", None) != 1:
        raise UserError(SPLITS.format(dist, run.target))


def workers_for_all(config: pytest.Config) -> int | None:
    """Return how many boards the run's target can have, for ``-n auto``; ``None`` if it is one machine.

    For a lab without ``at_most``, the lab's places are counted. Return ``None`` also if that fails, or if ``hil.toml``
    has mistakes.
    """
    name = config.getoption("hil_target")
    try:
        spec = load_config(config).target(name)
        if spec.kind == "pool":
            return len(spec.members)
        if spec.kind == "labgrid":
            return spec.at_most or len(places_of(name, spec)) or 1
    except HilError:
        pass
    return None


def open_pool(run: RunState, config: Config, wanted: int) -> Pool:
    """Return the pool of the run's target, from which at most ``wanted`` boards are used. Contact no board yet."""
    spec = config.target(run.target)
    option = run.pytest_config.getoption("hil_wait", None)
    wait = spec.wait if option is None else option
    source: Source
    if spec.kind == "labgrid":
        source = Places(run.target, spec, run.run_id, wait, run.progress)
        return Pool(run.target, source, wanted if spec.at_most is None else min(wanted, spec.at_most))
    members = {name: config.target(name) for name in spec.members}
    source = Members(run.target, members, run.run_id, wait, run.progress)
    return Pool(run.target, source, wanted)


def board_request(run: RunState, config: Config) -> dict[str, Any]:
    """Return the fields of the session's ``Request`` about the board; empty for a target that is one machine.

    If no board can be reached, the field ``unreachable`` has the reason. If there is no board for another reason, raise
    ``LabError`` or ``UserError``.
    """
    if not is_pool(run):
        return {}
    if run.is_worker:
        given = run.pytest_config.workerinput  # type: ignore[attr-defined] # xdist sets it
        run.lease = run.lease or Lease(Path(given["hil_pool"]), given["workerid"])
        board, why_not = run.lease.board()
        return {"board": board, "unreachable": why_not, "attempt": given["workerid"]}
    if run.pool is None:
        run.pool = open_pool(run, config, 1)
        run.pool.on_loss = lambda _user, reason: run.lose_board(reason)
    run.pool.start()
    run.pool.wait()
    board = run.pool.take(ALONE)
    if board is not None:
        return {"board": board, "attempt": ALONE}
    error = run.pool.error()
    if not isinstance(error, TargetUnreachable):
        raise error
    return {"unreachable": str(error)}
