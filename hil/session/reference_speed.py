"""Run the reference of each model for a moment, to estimate the length of a run."""

from __future__ import annotations

import contextlib
import statistics
import time
from itertools import islice
from typing import TYPE_CHECKING

from hil.onnx_files.external_data import addressed
from hil.onnx_files.host_run import run_on_host
from hil.onnx_files.reference import cpu_session
from hil.plan import expand
from hil.session.estimate import Estimate, Speed, estimate
from hil.session.validation_data import open_validation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hil.config.load import Config
    from hil.results import Row

MOMENT = 0.2
"""Seconds for which a reference is timed. The first inference, which is slower, counts only if it is the only one."""

MOST = 50
"""The most inferences that are timed."""


def speeds(config: Config, target: str, models: Iterable[str]) -> dict[str, Speed]:
    """Run the reference of each model for a moment and return its speed, except for models where that fails."""
    measured = {}
    for name in models:
        # An estimate stops nothing: the run itself reports a mistake, of whatever kind, in the model, data or code.
        with contextlib.suppress(Exception):
            measured[name] = _speed(config, target, name)
    return measured


def _speed(config: Config, target: str, name: str) -> Speed:
    spec = config.model(name, target)
    path = config.resolve(spec.path)
    signature, data = open_validation(config, target, name)
    file = addressed(path, config.resolve(config.spec.project.cache) / "external_data", signature.inputs)
    session = cpu_session(file, config.target(target).threads)
    (batch,) = islice(data.batches(spec.batch, spec.samples), 1)
    names, times = [output.name for output in session.get_outputs()], list[float]()
    began = time.perf_counter()
    while len(times) < MOST and (not times or time.perf_counter() - began < MOMENT):
        before = time.perf_counter()
        run_on_host(session, names, batch.feeds)
        times.append(time.perf_counter() - before)
    steps = 1 if batch.sequence is None else len(batch.sequence)
    return Speed(statistics.median(times[1:] or times), data.count, steps)


def estimated(
    config: Config, target: str, rows: Iterable[Row] | None = None, runs: int | None = None, *, over: float = 0.0
) -> Estimate:
    """Return the estimated length of a run on ``target`` that judges ``rows`` (``None``: the whole plan).

    ``runs`` is the number of fresh processes that time each engine (``None``: as in the config), spread over ``over``
    seconds. Raise ``UserError`` if ``rows`` is ``None`` and the config has no plan for ``target``.
    """
    if rows is None:
        plan = expand(config, target)
        rows = (*plan.rows, *plan.unlimited)
    judged = list(rows)
    names = dict.fromkeys(row.model for row in judged if row.model)
    measured = speeds(config, target, names)
    return estimate(config, target, judged, measured, runs or config.spec.measure.runs, over=over)
