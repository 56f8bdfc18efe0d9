"""Measures a board's noise with A/A sessions: each engine is compared with itself, so every alarm is a false one.

What the runs of a session share (connection, agent, clocks, heat) shifts them together, which one session cannot show.
So pairs of separate sessions are compared; their number is fixed in advance. A session that was disturbed from outside
is repeated, because it would be inconclusive in a pytest run too.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hil.baseline import machine
from hil.errors import LabError, Unsupported, UserError
from hil.jetson import identity_fields
from hil.results import Judgement, Row, Verdict
from hil.series import digest_of
from hil.session import Request, Session, records
from hil.session.sampling import replicates
from hil.session.target import state_contract
from hil.state import fold
from hil.stats.runs import FEWEST, NOISE_DF, Change, compare_runs, judge_change, spread_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from hil.config.load import Config
    from hil.series import Series

CHECKS = (*replicates.QUANTILES, "fps.sustained")
"""The checks with one value per fresh process."""
COMPARISONS = NOISE_DF
"""Default number of session pairs: one per assumed degree of freedom of the noise."""
SPOILED = 5
"""Sessions that may be repeated before the calibration gives up."""

Key = tuple[str, str, str]
Values = dict[Key, list[tuple[float, ...]]]
"""By check, model and precision: the run values of each session; every session has equally many."""


@dataclass(frozen=True)
class Learned:
    """The noise of one row, from A/A sessions.

    ``runs`` and ``sessions`` are relative standard deviations: between the runs of a session, and between sessions in
    addition to that. Of ``comparisons``, ``unaware`` reported a change when the noise was not taken into account, and
    ``alarms`` when the noise of all other sessions was.
    """

    key: Key
    runs: float
    sessions: float
    comparisons: int
    unaware: int
    alarms: int


def learn(values: Mapping[Key, Sequence[Sequence[float]]]) -> list[Learned]:
    """Return the noise of each row; compares the first session with the second, the third with the fourth, and so on.

    Raises ``ValueError`` for fewer than two pairs of sessions, or an odd number of sessions.
    """
    found = []
    for key, sessions in values.items():
        if len(sessions) < 4 or len(sessions) % 2:  # one pair to compare and at least one to learn from
            raise ValueError(f"{' '.join(key)}: {len(sessions)} sessions are not two or more pairs")
        unaware = alarms = 0
        for at in range(0, len(sessions), 2):
            others = spread_of([*sessions[:at], *sessions[at + 2 :]]).sessions
            unaware += _is_alarm(sessions[at], sessions[at + 1], None)
            alarms += _is_alarm(sessions[at], sessions[at + 1], others)
        spread = spread_of(sessions)
        found.append(Learned(key, spread.runs, spread.sessions, len(sessions) // 2, unaware, alarms))
    return found


def _is_alarm(base: Sequence[float], cand: Sequence[float], noise: float | None) -> bool:
    return judge_change(compare_runs([base], [cand], noise=noise)) in {Change.WORSE, Change.BETTER}


def measure(
    config: Config,
    target: str,
    engines: Sequence[tuple[str, str]],
    tell: Callable[[str], None],
    *,
    comparisons: int = COMPARISONS,
) -> tuple[str, Values]:
    """The machine (a board's serial) and the run values of ``2 * comparisons`` sessions of five runs an engine.

    Raises ``UserError`` if the target can do none of ``engines``, ``LabError`` for a target that is not reached, is
    lost, turns into another machine, or is disturbed again and again, and what timing an engine raises.
    """
    taken: list[tuple[str, dict[tuple[str, str], list[Series]]]] = []
    began, spoiled, count = time.monotonic(), 0, 2 * comparisons
    while len(taken) < count:
        at, series, why = _session(config, target, engines, tell if not taken else lambda _: None)
        if why:
            spoiled += 1
            if spoiled > SPOILED:
                raise LabError(
                    f"{spoiled} sessions were disturbed from outside ({why}): on target {target!r}: remove the cause"
                )
            tell(f"a session was disturbed from outside and is repeated: {why}")
            continue
        taken.append((at, series))
        left = (time.monotonic() - began) / (len(taken) + spoiled) * (count - len(taken))
        # Below 90 s, whole minutes would be off by up to half.
        more = f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s"
        tell(f"session {len(taken)} of {count}: about {more} left")
    machines = {at for at, _ in taken}
    if len(machines) != 1 or "" in machines:
        raise LabError(f"target {target!r} was {' and '.join(sorted(machines)) or 'unknown'}: calibrate one machine")
    return machines.pop(), _values([series for _, series in taken], tell)


def _session(
    config: Config, target: str, engines: Iterable[tuple[str, str]], tell: Callable[[str], None]
) -> tuple[str, dict[tuple[str, str], list[Series]], str]:
    """Run a session like pytest does; return the machine, five runs per engine, and what disturbed one of them."""
    found, why_not = {}, []
    with tempfile.TemporaryDirectory(prefix="hil-calibrate-") as folder:
        request = Request(config, target, "fail", 0.0, secrets.token_hex(16), Path(folder), tell)
        with closing(Session.open(request)) as session:
            at = ""
            for model, precision in engines:
                try:
                    found[model, precision] = replicates.take(session, model, precision, FEWEST)
                except Unsupported as error:
                    why_not.append(str(error))
                    tell(f"{model} {precision} is left out: {error}")
                    continue
                row = Row(id="latency.p50", model=model, precision=precision, required=False)
                serial = (identity_fields(session.facts.get("board")) or {}).get("serial")
                at = serial or machine(None, records.environment(session, row))
    if not found:
        raise UserError(f"nothing can be timed on target {target!r}: {'; '.join(why_not) or 'no model'}")
    findings = state_contract.findings_of(*(one for series in found.values() for one in series))
    judged = fold(Judgement(verdict=Verdict.PASSED, reason=""), findings)
    return at, found, judged.reason if judged.verdict is not Verdict.PASSED else ""


def _values(taken: Sequence[Mapping[tuple[str, str], list[Series]]], tell: Callable[[str], None]) -> Values:
    """Values by row; a row that one session has no value of is told and left out: the rest would be a selection."""
    values: Values = {}
    for model, precision in taken[0]:
        method = digest_of(taken[0][model, precision][0].method)
        for check in CHECKS:
            told = [replicates.values(check, each[model, precision], method) for each in taken]
            if why := next((why for _, why in told if why), ""):
                tell(f"{check} {model} {precision} is left out: {why}: raise [measure] run_duration")
            else:
                values[check, model, precision] = [found for found, _ in told]
    return values
