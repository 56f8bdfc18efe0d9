"""Two sides in, one comparison out; and many groups against one of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hil import __version__
from hil.compare import environment
from hil.compare.compared_checks import order
from hil.compare.row_verdicts import Known, judged
from hil.compare.schema import Compared, Document, Settings
from hil.compare.sides import Side, machine_of, pairs
from hil.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hil.compare.accepted_levels import Level
    from hil.compare.sides import Facts
    from hil.history import By, Noise, Point, RunRecord

NONE = {"jetpack": "no JetPack", "commit": "no commit", "target": "no target"}
SHORT = 12


@dataclass(frozen=True)
class Learned:
    """What a history knows beside points: the noise of a board, and the levels that were accepted."""

    noise: Callable[[Point], Noise | None] | None = None
    levels: Sequence[Level] = ()


def compare(base: Side, cand: Side, settings: Settings, learned: Learned | None = None) -> Compared:
    """Base against candidate, every row of either side.

    Raises ``UserError`` where a side has nothing that may be compared, or both have a run in common.
    """
    learned = learned or Learned()
    for side in (base, cand):
        _fit(side)
    found = pairs(base, cand)
    confounded = environment.confounded(base, cand)
    known = Known(
        settings=settings,
        methods={**base.methods, **cand.methods},
        confounded=None if settings.across_boards else confounded,
        noise=learned.noise,
        levels=learned.levels,
        machines={run.id: machine_of(run.serial, cand.facts_of(run.id)) for run in cand.runs},
    )
    models = list(dict.fromkeys(pair.key[1] for pair in found))
    rows = sorted(
        judged(found, known),
        key=lambda row: (models.index(row.model), row.precision, order(row.check), row.scenario),
    )
    return Compared(
        base=base.used,
        cand=cand.used,
        rows=tuple(rows),
        changed=environment.changed(base, cand),
        confounded=confounded,
    )


def _fit(side: Side) -> None:
    """Refuses what never may stand on a side, whoever named it."""
    if not side.points:
        raise UserError(f"{side.name}: nothing was measured there: run pytest --target=NAME first, see hil history")
    for run in side.runs:
        if run.fallback:
            what = f"{run.used} stood in for {run.target}"
        elif not run.usable:
            what = "it was broken off"
        else:
            continue
        raise UserError(f"{side.name}: run {run.id} cannot be compared, {what}: run it again, or name another run")


def document(
    comparisons: Sequence[Compared], settings: Settings, by: str | None = None, model: str | None = None
) -> Document:
    """The comparisons as one document; it passes if each of them does."""
    passed = bool(comparisons) and all(each.passed for each in comparisons)
    return Document(
        hil_version=__version__, by=by, model=model, settings=settings, passed=passed, comparisons=tuple(comparisons)
    )


def group_of(run: RunRecord, by: By) -> str:
    """The column of a matrix that ``run`` belongs to."""
    if by == "jetpack":
        return run.jetpack or NONE[by]
    if by == "commit":
        return NONE[by] if run.commit is None else run.commit[:SHORT] + (" with changes" if run.dirty else "")
    return run.target


def sides_by(
    points: Sequence[Point], by: By, methods: Mapping[str, Facts], environments: Mapping[str, Facts]
) -> tuple[Side, ...]:
    """The points in groups, a side each: JetPack releases by their version, commits and targets by their first run.

    Fallbacks and runs that were broken off are left out: they stand for no group.
    """
    found: dict[str, list[Point]] = {}
    for point in points:
        if point.run.usable:
            found.setdefault(group_of(point.run, by), []).append(point)
    sides = [_side(name, group, methods, environments) for name, group in found.items()]
    if by == "jetpack":
        return tuple(sorted(sides, key=lambda side: _version(side.name)))
    return tuple(sorted(sides, key=lambda side: side.runs[-1].started))


def _side(name: str, points: Sequence[Point], methods: Mapping[str, Facts], environments: Mapping[str, Facts]) -> Side:
    used = {point.method for point in points}, {point.environment for point in points}
    return Side(
        name,
        tuple(points),
        {digest: facts for digest, facts in methods.items() if digest in used[0]},
        {digest: facts for digest, facts in environments.items() if digest in used[1]},
    )


def _version(name: str) -> tuple[int, tuple[int, ...], str]:
    numbers = tuple(int(part) for part in re.findall(r"\d+", name))
    return (0 if numbers else 1, numbers, name)


def against_base(
    sides: Sequence[Side], base: str | None, settings: Settings, learned: Learned | None = None
) -> tuple[Compared, ...]:
    """Each side against the one named ``base`` (the first if ``None``). Raises ``UserError`` if there are not two."""
    names = [side.name for side in sides]
    if len(names) < 2:
        there = f"only {names[0]}" if names else "nothing"
        raise UserError(f"there is {there} in the history to put side by side: run the suites on another one first")
    if base is not None and base not in names:
        raise UserError(f"--base {base}: there is no such column{did_you_mean(base, names)}")
    first = next(side for side in sides if base in {None, side.name})
    return tuple(compare(first, side, settings, learned) for side in sides if side is not first)
