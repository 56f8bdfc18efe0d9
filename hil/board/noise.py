"""Measures a board's noise with A/A sessions: each engine is compared with itself, so every alarm is false.

A session that was disturbed from outside is repeated.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hil.baseline import machine
from hil.errors import LabError, Unsupported, UserError
from hil.jetson import identity_fields
from hil.results import Judgement, Row, Verdict
from hil.session import Request, Session, records
from hil.session.sampling import replicates
from hil.session.target import state_contract
from hil.state import fold
from hil.stats.control_difference import CONTROL
from hil.stats.runs import FEWEST, NOISE_DF, Change, compare_runs, judge_change, spread_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from hil.config.load import Config
    from hil.series import Series

CHECKS = (*replicates.QUANTILES, "fps.sustained")
"""The checks that yield one value per run, each run in a new process."""
COMPARISONS = NOISE_DF
"""Default number of session pairs: one per assumed degree of freedom of the noise."""
MAX_REPEATED = 5
"""Maximum number of disturbed sessions that are repeated; one more raises ``LabError``."""

Key = tuple[str, str, str]
Values = dict[Key, list[tuple[float, ...]]]
"""The run values of each session, by check, model and precision. All sessions have equally many runs."""


@dataclass(frozen=True)
class Learned:
    """The noise of one row, from A/A sessions."""

    key: Key
    runs: float
    """relative standard deviation between the runs of a session"""
    sessions: float
    """relative standard deviation between sessions, in addition to ``runs``"""
    comparisons: int
    """number of compared session pairs"""
    unaware: int
    """number of comparisons that reported a change if the noise between sessions was ignored"""
    alarms: int
    """number of comparisons that reported a change if the noise between all other sessions was included"""


def learn(values: Mapping[Key, Sequence[Sequence[float]]]) -> list[Learned]:
    """Return the noise of each row. Compares sessions in pairs: first and second, third and fourth, and so on.

    Raises ``ValueError`` for fewer than two pairs of sessions, or an odd number of sessions.
    """
    noise = []
    for key, sessions in values.items():
        if len(sessions) < 4 or len(sessions) % 2:  # one pair to compare and at least one to estimate the noise from
            raise ValueError(f"{' '.join(key)}: {len(sessions)} sessions do not make two or more pairs")
        unaware = alarms = 0
        for at in range(0, len(sessions), 2):
            others = spread_of([*sessions[:at], *sessions[at + 2 :]]).sessions
            unaware += _is_alarm(sessions[at], sessions[at + 1], 0.0)
            alarms += _is_alarm(sessions[at], sessions[at + 1], others)
        spread = spread_of(sessions)
        noise.append(Learned(key, spread.runs, spread.sessions, len(sessions) // 2, unaware, alarms))
    return noise


def between_boards(values: Mapping[str, Values]) -> dict[Key, float]:
    """Return by row how much boards differ, as a fraction; ``values`` has the values of each board, by its name.

    The fraction is the far end of the 99 % interval of the difference between two boards, for the pair with the
    largest. A row that a board lacks is left out. Raise ``ValueError`` for fewer than two boards.
    """
    if len(values) < 2:
        raise ValueError("the difference between boards needs two boards")
    shared = set.intersection(*(set(rows) for rows in values.values()))
    spreads = {}
    for key in [key for key in next(iter(values.values())) if key in shared]:
        compared = [compare_runs(one[key], other[key]) for one, other in combinations(values.values(), 2)]
        spreads[key] = max(max(each.high, 1 / each.low) for each in compared) - 1
    return spreads


def _is_alarm(base: Sequence[float], cand: Sequence[float], noise: float) -> bool:
    return judge_change(compare_runs([base], [cand], noise=noise)) in {Change.WORSE, Change.BETTER}


def measure(
    config: Config,
    target: str,
    engines: Sequence[tuple[str, str]],
    notify: Callable[[str], None],
    *,
    comparisons: int = COMPARISONS,
) -> tuple[str, Values]:
    """Return the machine (a board's serial number if known) and the run values of ``2 * comparisons`` sessions.

    ``engines`` are pairs of model and precision; pairs that the target does not support are left out. Each session has
    five runs of each engine. ``notify`` is called with messages about the progress.

    Raises:
        UserError: the target supports none of ``engines``.
        LabError: the target is unreachable or lost, machines differ or are unknown, or too many sessions were
            disturbed.
    """
    sessions: list[tuple[str, dict[tuple[str, str], list[Series]]]] = []
    began, repeated, count = time.monotonic(), 0, 2 * comparisons
    while len(sessions) < count:
        at, series, why = _session(config, target, engines, notify if not sessions else lambda _: None)
        if why:
            repeated += 1
            if repeated > MAX_REPEATED:
                raise LabError(
                    f"{repeated} sessions were disturbed from outside ({why}): on target {target!r}: remove the cause"
                )
            notify(f"a session was disturbed from outside and is repeated: {why}")
            continue
        sessions.append((at, series))
        left = (time.monotonic() - began) / (len(sessions) + repeated) * (count - len(sessions))
        # Below 90 s, whole minutes would be off by up to half.
        more = f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s"
        notify(f"session {len(sessions)} of {count}: about {more} left")
    machines = {at for at, _ in sessions}
    if len(machines) != 1 or "" in machines:
        raise LabError(
            f"the sessions ran on different or unknown machines ({', '.join(sorted(machines)) or 'none'}): "
            f"on target {target!r}: calibrate one machine"
        )
    return machines.pop(), _values([series for _, series in sessions], notify)


def _session(
    config: Config, target: str, engines: Iterable[tuple[str, str]], notify: Callable[[str], None]
) -> tuple[str, dict[tuple[str, str], list[Series]], str]:
    """Run one session; return the machine, five runs per engine, and the reason if it was disturbed (else empty)."""
    runs, why_not = {}, []
    with tempfile.TemporaryDirectory(prefix="hil-calibrate-") as folder:
        request = Request(config, target, "fail", 0.0, secrets.token_hex(16), Path(folder), notify)
        with closing(Session.open(request)) as session:
            at = ""
            for model, precision in engines:
                try:
                    runs[model, precision] = replicates.measure_runs(session, model, precision, FEWEST)
                except Unsupported as error:
                    why_not.append(str(error))
                    notify(f"{model} {precision} is left out: {error}")
                    continue
                row = Row(id="latency.p50", model=model, precision=precision, required=False)
                serial = (identity_fields(session.facts.get("board")) or {}).get("serial")
                at = serial or machine(None, records.environment(session, row))
    if not runs:
        raise UserError(f"nothing can be timed on target {target!r}: {'; '.join(why_not) or 'no model'}")
    findings = state_contract.findings_of(*(one for series in runs.values() for one in series))
    judged = fold(Judgement(verdict=Verdict.PASSED, reason=""), findings)
    return at, runs, judged.reason if judged.verdict is not Verdict.PASSED else ""


def _values(sessions: Sequence[Mapping[tuple[str, str], list[Series]]], notify: Callable[[str], None]) -> Values:
    """Return the values by row; a row that lacks a value in some session is reported and left out."""
    values: Values = {}
    for model, precision in sessions[0]:
        method = sessions[0][model, precision][0].method
        for check in CHECKS:
            results = [replicates.values(check, series[model, precision], method) for series in sessions]
            if why := next((why for _, why in results if why), ""):
                notify(f"{check} {model} {precision} is left out: {why}: raise [measure] run_duration")
            else:
                values[check, model, precision] = [run_values for run_values, _ in results]
    controls = [[one.control for series in session.values() for one in series] for session in sessions]
    workloads = {None if one is None else one.workload for session in controls for one in session}
    if len(workloads) == 1 and None not in workloads:
        key = (CONTROL, str(workloads.pop()), "")
        values[key] = [tuple(float(np.median(one.duration)) for one in session if one) for session in controls]
    return values
