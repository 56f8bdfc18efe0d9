"""Simulate sessions whose machine changes speed between them, and compare them by the code of ``hil compare``."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.results.judging.sessions import SIMULATED_CLAIM
from benchmarks.verdicts import timings
from benchmarks.verdicts.comparison import generator
from benchmarks.verdicts.table import Cell, cell
from hil.compare import HistoryFacts, Settings, Side, Status, compare
from hil.history import Point, RunRecord
from hil.results import ControlSummary
from hil.stats.session_noise import pooled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.verdicts.timings import FloatArray

SHIFTS = (0.0, 0.01, 0.05, 0.4)
"""How much the speed of the machine differs between sessions."""

RUNS, EARLIER, RUN_SD = 7, 8, 0.003
"""Runs of a session, earlier sessions in the history, and the standard deviation between runs of a session."""

CONTROL_ERROR = 0.003
"""Relative standard error of the control's median of a session, as of some twenty windows."""

REACTION = 1.3
"""How strongly a network bound by memory reacts to a machine of another speed, relative to the control."""

ALARMS = 0.01
FACTS = {"hostname": "host", "cpu_model": "simulated"}
WHEN = datetime(2026, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Case:
    """One kind of session.

    Attributes:
        name: as it is printed.
        one_sided: the machine is slower in the candidate's session only, unlike all earlier ones; otherwise each
            session has a level of its own.
        reaction: how strongly the network reacts, relative to the control.
        known: whether the history has enough earlier sessions.
        control: whether a control was timed.
    """

    name: str
    one_sided: bool
    reaction: float = 1.0
    known: bool = True
    control: bool = True


CASES = (
    Case("every session has its level", one_sided=False),
    Case("every session has its level, no control", one_sided=False, control=False),
    Case("one side is slower", one_sided=True),
    Case("one side is slower, bound by memory", one_sided=True, reaction=REACTION),
    Case("one side is slower, unknown noise, no control", one_sided=True, known=False, control=False),
)


def cells(trials: int, seed: int) -> list[Cell]:
    """Return the rate of false changes of each case and shift; the same for the same seed.

    ``trials`` is divided among the noise models. Cells are simulated side by side, one a core.
    """
    each = max(1, trials // len(timings.MODELS))
    pairs = [(case, shift) for case in CASES for shift in SHIFTS]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), get_context("spawn")) as pool:
        return list(pool.map(partial(_cell, each, seed), pairs))


def _cell(each: int, seed: int, pair: tuple[Case, float]) -> Cell:
    case, shift = pair
    models = timings.MODELS
    return cell(
        f"{case.name}, by {100 * shift:g} %",
        f"{len(models)} models in turn",
        sum(alarms(generator(seed, case.name, shift, model), each, model, case, shift) for model in models),
        each * len(models),
        bar=ALARMS,
        sense="at most",
        claim=SIMULATED_CLAIM,
    )


def alarms(random: np.random.Generator, trials: int, model: str, case: Case, shift: float) -> int:
    """Return in how many of ``trials`` comparisons of two simulated sessions of one engine a change is reported."""
    shape = (trials, 2 + EARLIER)
    levels = np.zeros(shape) if case.one_sided else np.log1p(shift) * random.standard_normal(shape)
    if case.one_sided:
        levels[:, 1] = np.log1p(shift)
    values = timings.values(random, model, (*shape, RUNS), sd=RUN_SD) * np.exp(case.reaction * levels)[..., None]
    return sum(_is_alarm(random, case, *sessions) for sessions in zip(values, levels, strict=True))


def _is_alarm(random: np.random.Generator, case: Case, values: FloatArray, levels: FloatArray) -> bool:
    """Return whether the comparison of the first two sessions, with the others as history, reports a change.

    ``values`` are the sessions' runs, shape (sessions, runs); ``levels`` the logarithms of the machine's slowness.
    """
    controls = [_control(random, float(level)) if case.control else None for level in levels]
    noise = pooled([values[2:].tolist()] if case.known else [])
    sides = [_side(str(at), values[at].tolist(), controls[at]) for at in (0, 1)]
    (row,) = compare(sides[0], sides[1], Settings(), HistoryFacts(lambda _: noise)).rows
    return row.status in {Status.WORSE, Status.BETTER}


def _control(random: np.random.Generator, level: float) -> ControlSummary:
    median = 1e-3 * float(np.exp(level + CONTROL_ERROR * random.standard_normal()))
    low, high = (median * float(np.exp(sign * 1.96 * CONTROL_ERROR)) for sign in (-1, 1))
    return ControlSummary(
        workload="simulated",
        windows=20,
        median=median,
        low=low,
        high=high,
        spread=0.01,
        drift_low=-0.01,
        drift_high=0.01,
    )


def _side(name: str, values: Sequence[float], control: ControlSummary | None) -> Side:
    run = RunRecord(
        id=name, started=WHEN, target="cpu", used="cpu", kind="local", board=None, module=None, serial=None,
        jetpack=None, l4t=None, runtime="simulated", runtime_version="1", cuda=None, commit=None, dirty=False,
        decision="PASSED", hil_version="1", config_digest="", report_digest=name, evidence=None,
    )  # fmt: skip
    point = Point(
        run=run, check="latency.p50", model="m", precision="fp32", scenario="saturated", value=values[0], unit="s", n=1,
        low=None, high=None, runs=tuple(values), method="m", environment="e", engine=None, verdict="measured",
        executed_on=None, control=control,
    )  # fmt: skip
    return Side(name, (point,), {"m": {"version": 1}}, {"e": FACTS})
