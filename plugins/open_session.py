"""Open the session of a run from its command line and config, or estimate how long the run would take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.plugins import load_baseline
from hil.session import Request, Session

if TYPE_CHECKING:
    from hil.config.load import Config
    from hil.plugins.run_state import RunState
    from hil.session.steps import Progress


def open_session(run: RunState, config: Config, progress: Progress) -> Session:
    """Return the session that holds the run's target. Raises like ``Session.open``."""
    option = run.pytest_config.getoption
    request = Request(
        config=config,
        target=run.target,
        fallback=option("hil_fallback", None) or "cpu",
        wait=option("hil_wait", None) or 0.0,
        run_id=run.run_id,
        report_dir=run.report_dir,
        sources=run.sources,
        plan=run.plan,
        progress=progress,
        runs=runs(run, config),
        baseline=run.baseline,
    )
    return Session.open(request)


def estimate_of(run: RunState) -> str | None:
    """Return the estimated length of the collected tests as one line, ``None`` unless pytest only collects.

    The references run for a moment. With ``-q`` there is none, because scripts read that output.
    """
    config = run.pytest_config
    if not config.option.collectonly or run.config is None or run.problem is not None or config.get_verbosity() < 0:
        return None
    from hil.session.reference_speed import estimated

    collected = {nodeid.rsplit("/", maxsplit=1)[-1] for nodeid in run.states.selected}
    rows = [row for row in (*run.plan.rows, *run.plan.unlimited) if row.test in collected]
    with run.progress.step("running the references for a moment", said=False):
        return f"hil: {estimated(run.config, run.target, rows, runs(run, run.config))}" if rows else None


def runs(run: RunState, config: Config) -> int | None:
    """Return ``--hil-runs``, else ``RUNS`` if a baseline needs several, else ``None`` for ``[measure] runs``."""
    option: int | None = run.pytest_config.getoption("hil_runs", None)
    enough = run.baseline is None or config.spec.measure.runs > 1
    return option if option is not None or enough else load_baseline.RUNS
