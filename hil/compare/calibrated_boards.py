"""Judge rows that were measured on different boards, by how much these boards differ according to their calibration.

How much of that difference is in a row is unknown. So each row is judged three times: as measured, and with the
candidate's values moved by the whole difference in either direction. Its status counts only if all three agree.
"""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from hil.catalogue import CATALOGUE
from hil.compare.asked_rows import settled_by_limit
from hil.compare.row_verdicts import Known, judge_pairs
from hil.compare.schema import Row, Status
from hil.stats.control_difference import CONTROL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from hil.compare.sides import Facts, Pair
    from hil.history import Point
    from hil.stats.session_noise import SessionNoise

    Noises = Callable[[Pair], SessionNoise | None]
    Between = Callable[[Iterable[str], str, str, str], "Spread | None"]

OF_THE_BOARD = ("hostname", "member", "target", "memory_total")
"""Fields of an environment in which boards of one kind differ."""


class Spread(NamedTuple):
    """The most by which boards differ in a row, a fraction, and the day of the calibration that measured it."""

    most: float
    day: str


def judge_across_boards(pairs: Sequence[Pair], known: Known, between: Between) -> tuple[Row, ...]:
    """Return the judged row of each pair, for two sides that were measured on different machines.

    ``known.confounded`` is the reason for a row whose boards were not calibrated: such a row is confounded. ``between``
    returns by how much boards with these serial numbers differ in a row (check, model and precision); ``None`` if they
    were not calibrated.
    """
    confounded = judge_pairs(pairs, known)
    spreads = [_spread(pair, known.environments, between) for pair in pairs]
    if all(spread is None for spread in spreads):
        return confounded
    alike = {digest: _without_board(facts) for digest, facts in known.environments.items()}
    free = replace(known, confounded=None, environments=alike, noise=_larger_noise(known.noise))
    judged = [
        judge_pairs(
            [_moved(pair, spread, way, known, between) for pair, spread in zip(pairs, spreads, strict=True)], free
        )
        for way in (0, -1, 1)
    ]
    return tuple(
        row if spread is None else settled_by_limit(_settled(spread, *ways), pair)
        for pair, row, spread, *ways in zip(pairs, confounded, spreads, *judged, strict=True)
    )


def _settled(spread: Spread, row: Row, *moved: Row) -> Row:
    """Return ``row`` with the boards' difference in its reason; unclear unless all rows ``moved`` have its status.

    The values of ``moved`` were changed by the whole difference between the boards. A refused row, and a row of a
    single board, stay as they are.
    """
    if not spread.most or row.status is Status.REFUSED:
        return row
    boards = (
        f"these boards differ by up to {spread.most * 100:.2g} %, as calibrated on {spread.day} "
        "(with the JetPack, runtime and power mode of that day, which are not recorded)"
    )
    if all(each.status is row.status for each in moved):
        return row.model_copy(update={"reason": f"{row.reason}; {boards}"})
    why = f"{boards}, which may explain what was measured: measure both sides on one board"
    return row.model_copy(update={"status": Status.UNCLEAR, "reason": why})


def _serials(pair: Pair, environments: Mapping[str, Facts]) -> set[str]:
    """Return the serial numbers of the boards that measured ``pair``; empty if one is unknown, or if modules differ."""
    boards = {_board(point, environments) for point in (*pair.base, *pair.cand)}
    known = all(serial and module for serial, module in boards) and len({module for _, module in boards}) == 1
    return {str(serial) for serial, _ in boards} if known else set()


def _board(point: Point, environments: Mapping[str, Facts]) -> tuple[str | None, str | None]:
    """Return serial number and module of the board that measured ``point``; either may be unknown."""
    if point.run.serial:
        return point.run.serial, point.run.module
    identity = environments.get(point.environment, {}).get("identity") or {}
    return identity.get("serial"), identity.get("module")


def _spread(pair: Pair, environments: Mapping[str, Facts], between: Between) -> Spread | None:
    """Return by how much the boards of ``pair`` differ in its row; ``None`` if that is not known."""
    kind = CATALOGUE.get(pair.key[0])
    as_calibrated = kind is not None and kind.scenario == pair.key[3]
    serials = _serials(pair, environments) if pair.base and pair.cand and as_calibrated else set()
    if len(serials) < 2:
        return Spread(0.0, "") if serials else None
    return between(serials, *pair.key[:3])


def _moved(pair: Pair, spread: Spread | None, way: int, known: Known, between: Between) -> Pair:
    """Return ``pair`` with the candidate's values multiplied by ``(1 + spread) ** way``.

    The candidate's control is moved towards the base's control, at most by as much as the boards' controls differ.
    """
    if spread is None or not spread.most:
        return pair
    controls = [point.control for point in (*pair.base, *pair.cand)]
    allowed = 0.0
    if None not in controls and len({each.workload for each in controls if each}) == 1:
        assert controls[0] is not None  # noqa: S101 - as above; for the type checker
        calibrated = between(_serials(pair, known.environments), CONTROL, controls[0].workload, "")
        allowed = calibrated.most if calibrated else 0.0
    middles = [
        statistics.median(p.control.median for p in side if p.control) if allowed else 1.0
        for side in (pair.base, pair.cand)
    ]
    towards = min(max(middles[0] / middles[1], 1 / (1 + allowed)), 1 + allowed)
    return replace(pair, cand=tuple(_scaled(point, (1 + spread.most) ** way, towards) for point in pair.cand))


def _scaled(point: Point, factor: float, of_control: float) -> Point:
    control = point.control
    if control is not None:
        times = {name: getattr(control, name) for name in ("median", "low", "high")}
        scaled = {name: None if value is None else value * of_control for name, value in times.items()}
        control = control.model_copy(update=scaled)
    return replace(
        point, value=point.value * factor, runs=tuple(value * factor for value in point.runs), control=control
    )


def _without_board(facts: Facts) -> Facts:
    """Return an environment without the fields in which boards of one kind differ."""
    rest = {name: value for name, value in facts.items() if name not in OF_THE_BOARD}
    identity = facts.get("identity")
    return {**rest, "identity": {**identity, "serial": None}} if isinstance(identity, dict) else rest


def _larger_noise(noise: Noises | None) -> Noises | None:
    """Return a function like ``noise`` that returns the larger noise of the two sides; ``None`` if one is unknown."""
    if noise is None:
        return None

    def larger(pair: Pair) -> SessionNoise | None:
        both = noise(pair), noise(replace(pair, base=pair.cand, cand=pair.base))
        known = [each for each in both if each is not None and each.known]
        return max(known, key=lambda each: each.sd) if len(known) == len(both) else None

    return larger
