"""Error rates of comparisons of runs: false alarms, detected changes, and the planner's predicted power."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from benchmarks.verdicts import timings
from benchmarks.verdicts.table import Cell, Claims, cell
from hil.stats.power import power_of, runs_needed
from hil.stats.runs import FEWEST, Change, compare_runs, judge_change, spread_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.verdicts.timings import FloatArray

SDS = (0.002, 0.005, 0.01)
ALARMS, PROMISE = 0.01, 0.03
FOUND = {0.02: 0.90, 0.05: 0.99}
ALARM_CLAIM = "false alarms between runs"
FOUND_CLAIM = {0.02: "+2 % found between runs", 0.05: "+5 % found between runs"}
PROMISE_CLAIM = "the planner's promise of power, within 3 points"
SESSION_CLAIM = "false alarms between sessions"
_NOISES = len(SDS) * len(timings.MODELS)
CLAIMS: Claims = {FOUND_CLAIM[effect]: (_NOISES, wanted, "at least") for effect, wanted in FOUND.items()}
CLAIMS[ALARM_CLAIM] = (len(FOUND) * (_NOISES + len(timings.BETWEEN) - 1), ALARMS, "at most")
CLAIMS[SESSION_CLAIM] = (2, ALARMS, "at most")
PROMISES = len(FOUND) * _NOISES
CALIBRATED = 20_000
"""Number of runs from which the planner's standard deviation is estimated, enough for a negligible error."""

SESSIONS, SESSION_SD = 40, 0.005
"""Sessions of five runs in a calibration of 20 comparisons, and the standard deviation between sessions."""


def cells(trials: int, seed: int) -> list[Cell]:
    """Return all cells of comparisons between runs; the same for the same seed."""
    cells_ = []
    for model in timings.MODELS:
        for sd in SDS:
            cells_ += _planned(trials, seed, model, sd, "Gaussian")
    for between in timings.BETWEEN:
        if between != "Gaussian":
            cells_ += _planned(trials, seed, "Gaussian", SDS[-1], between)
    return [*cells_, *_sessions(trials, seed)]


def generator(seed: int, *what: object) -> np.random.Generator:
    """Return the random generator of a cell, which does not depend on the other cells."""
    return np.random.default_rng([seed, crc32(repr(what).encode())])


def _planned(trials: int, seed: int, model: str, sd: float, between: str) -> list[Cell]:
    """Return the rates of false alarms and detections for the number of runs that the planner asks for."""
    noise = f"{model}, runs {100 * sd:g} %" + ("" if between == "Gaussian" else f", {between}")
    random = generator(seed, noise)
    pool = timings.values(random, model, (CALIBRATED,), sd=sd, between=between)
    spread = float(np.log(pool).std(ddof=1))
    cells_ = []
    for effect, wanted in FOUND.items():
        cells_ += _of_effect(random, (trials, model, sd, between, spread), noise, effect, wanted)
    return cells_


def _of_effect(
    random: np.random.Generator, settings: tuple[int, str, float, str, float], noise: str, effect: float, wanted: float
) -> list[Cell]:
    """Return the cells of one effect.

    ``settings`` are trials, model, standard deviation and distribution between runs, and the total spread.
    """
    trials, model, sd, between, spread = settings
    judged = between == "Gaussian"
    what, claim, least = f"+{100 * effect:g} % found", FOUND_CLAIM[effect] if judged else "", wanted if judged else None
    runs = runs_needed(spread, effect, wanted)
    if runs is None:
        return [cell(f"{what}, no plan of 30 runs", noise, 0, trials, bar=least, sense="at least", claim=claim)]
    alike, slower = (timings.values(random, model, (2, trials, runs), sd=sd, between=between) for _ in range(2))
    slower[1] *= 1 + effect
    alarms = sum(_called(base, cand) for base, cand in zip(*alike, strict=True))
    hits = sum(_change(base, cand) is Change.WORSE for base, cand in zip(*slower, strict=True))
    side = f"{runs} runs a side"
    return [
        cell(
            f"false alarm, planned for +{100 * effect:g} %, {side}",
            noise,
            alarms,
            trials,
            bar=ALARMS,
            sense="at most",
            claim=ALARM_CLAIM,
        ),
        cell(f"{what}, {side}", noise, hits, trials, bar=least, sense="at least", claim=claim),
        _predicted_power(what, noise, hits, trials, power_of(runs, spread, effect), judged=judged),
    ]


def _predicted_power(  # noqa: PLR0913 - a cell's coordinates
    what: str, noise: str, hits: int, trials: int, predicted: float, *, judged: bool
) -> Cell:
    """Return the cell that checks whether the measured power is within three points of the predicted power."""
    name = f"{what}, promised {100 * predicted:.1f} %"
    if not judged:
        return cell(name, noise, hits, trials, bar=None, sense="at least")
    if hits / trials < predicted:
        return cell(name, noise, hits, trials, bar=max(0.0, predicted - PROMISE), sense="at least", claim=PROMISE_CLAIM)
    return cell(name, noise, hits, trials, bar=min(1.0, predicted + PROMISE), sense="at most", claim=PROMISE_CLAIM)


def _sessions(trials: int, seed: int) -> list[Cell]:
    """Return the cells with differences between sessions; one session a side of unknown noise has no bar."""
    noise = f"Gaussian, runs 0.5 %, sessions {100 * SESSION_SD:g} %"
    random = generator(seed, noise)
    few, many = (_days(random, trials, count) for count in (1, 6))
    calibration = _days(random, trials, SESSIONS // 2)
    learned = [spread_of([*a, *b]).sessions for a, b in zip(*calibration, strict=True)]
    rows: dict[str, tuple[FloatArray, Sequence[float | None], float | None]] = {
        "false alarm, 1 session a side, noise unknown": (few, [None] * trials, None),
        "false alarm, 1 session a side, noise learned": (few, learned, ALARMS),
        "false alarm, 6 sessions a side": (many, [None] * trials, ALARMS),
    }
    return [
        cell(
            name,
            noise,
            sum(
                judge_change(compare_runs(a.tolist(), b.tolist(), noise=known)) in {Change.WORSE, Change.BETTER}
                for a, b, known in zip(*sides, knowing, strict=True)
            ),
            trials,
            bar=bar,
            sense="at most",
            claim="" if bar is None else SESSION_CLAIM,
        )
        for name, (sides, knowing, bar) in rows.items()
    ]


def _days(random: np.random.Generator, trials: int, sessions: int) -> FloatArray:
    """Return run values, shape (2, trials, sessions, 5); each session has its own level."""
    shape = (2, trials, sessions, FEWEST)
    level = np.exp(SESSION_SD * random.standard_normal((*shape[:3], 1)))
    return np.asarray(timings.values(random, "Gaussian", shape, sd=0.005) * level)


def _change(base: FloatArray, cand: FloatArray) -> Change:
    return judge_change(compare_runs([base.tolist()], [cand.tolist()], noise=0.0))


def _called(base: FloatArray, cand: FloatArray) -> bool:
    return _change(base, cand) in {Change.WORSE, Change.BETTER}
