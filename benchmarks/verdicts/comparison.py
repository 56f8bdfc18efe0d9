"""How often a comparison of runs is wrong, finds what is there, and keeps what its planner promised."""

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
"""Runs that the planner's standard deviation comes from: what it promises is judged, not how well that is known."""

SESSIONS, SESSION_SD = 40, 0.005
"""Sessions of five runs that a calibration of 20 comparisons takes, and how they differ where they do."""


def cells(trials: int, seed: int) -> list[Cell]:
    """All cells of comparisons between runs; the same for the same seed."""
    found = []
    for model in timings.MODELS:
        for sd in SDS:
            found += _planned(trials, seed, model, sd, "Gaussian")
    for between in timings.BETWEEN:
        if between != "Gaussian":
            found += _planned(trials, seed, "Gaussian", SDS[-1], between)
    return [*found, *_sessions(trials, seed)]


def generator(seed: int, *what: object) -> np.random.Generator:
    """One for each cell, so that a cell is the same whichever others are simulated."""
    return np.random.default_rng([seed, crc32(repr(what).encode())])


def _planned(trials: int, seed: int, model: str, sd: float, between: str) -> list[Cell]:
    """With as many runs as the planner says: false alarms, what is found, and both beside the promise.

    Of runs that do not differ as a normal crowd does only false alarms are judged: the planner knows a standard
    deviation alone, and what it then finds, and promised, is told without a bar.
    """
    noise = f"{model}, runs {100 * sd:g} %" + ("" if between == "Gaussian" else f", {between}")
    random = generator(seed, noise)
    pool = timings.values(random, model, (CALIBRATED,), sd=sd, between=between)
    spread = float(np.log(pool).std(ddof=1))
    found = []
    for effect, wanted in FOUND.items():
        found += _of_effect(random, (trials, model, sd, between, spread), noise, effect, wanted)
    return found


def _of_effect(
    random: np.random.Generator, given: tuple[int, str, float, str, float], noise: str, effect: float, wanted: float
) -> list[Cell]:
    """The cells of one effect; ``given`` are trials, model, what runs differ by and how, and their whole spread."""
    trials, model, sd, between, spread = given
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
        _kept(what, noise, hits, trials, power_of(runs, spread, effect), judged=judged),
    ]


def _kept(  # noqa: PLR0913 - a cell's coordinates
    what: str, noise: str, hits: int, trials: int, promised: float, *, judged: bool
) -> Cell:
    """Whether the measured power is within three points of the promised, on the side where it is not."""
    name = f"{what}, promised {100 * promised:.1f} %"
    if not judged:
        return cell(name, noise, hits, trials, bar=None, sense="at least")
    if hits / trials < promised:
        return cell(name, noise, hits, trials, bar=max(0.0, promised - PROMISE), sense="at least", claim=PROMISE_CLAIM)
    return cell(name, noise, hits, trials, bar=min(1.0, promised + PROMISE), sense="at most", claim=PROMISE_CLAIM)


def _sessions(trials: int, seed: int) -> list[Cell]:
    """Where sessions differ too: unknown it cannot be judged, learned or seen it is no alarm."""
    noise = f"Gaussian, runs 0.5 %, sessions {100 * SESSION_SD:g} %"
    random = generator(seed, noise)
    few, many = (_days(random, trials, count) for count in (1, 6))
    taught = _days(random, trials, SESSIONS // 2)
    learned = [spread_of([*a, *b]).sessions for a, b in zip(*taught, strict=True)]
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
    """Run values, shape (2, trials, sessions, 5), all runs of a session at a level of their own."""
    shape = (2, trials, sessions, FEWEST)
    level = np.exp(SESSION_SD * random.standard_normal((*shape[:3], 1)))
    return np.asarray(timings.values(random, "Gaussian", shape, sd=0.005) * level)


def _change(base: FloatArray, cand: FloatArray) -> Change:
    return judge_change(compare_runs([base.tolist()], [cand.tolist()]))


def _called(base: FloatArray, cand: FloatArray) -> bool:
    return _change(base, cand) in {Change.WORSE, Change.BETTER}
