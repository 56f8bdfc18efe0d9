"""Compare two sides, or several groups of runs with one of these groups."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hil import __version__
from hil.compare import environment
from hil.compare.asked_rows import refuse_unmatched
from hil.compare.calibrated_boards import judge_across_boards
from hil.compare.compared_checks import order
from hil.compare.control import uncontrolled
from hil.compare.row_verdicts import Known, judge_pairs
from hil.compare.schema import Compared, Document, Settings, Status
from hil.compare.sides import Side, machine_of, pairs
from hil.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hil.compare.accepted_levels import Level
    from hil.compare.calibrated_boards import Between
    from hil.compare.sides import Facts, Pair
    from hil.history import By, Point, RunRecord
    from hil.stats.session_noise import SessionNoise

NONE = {"jetpack": "no JetPack", "commit": "no commit", "target": "no target"}
SHORT = 12


@dataclass(frozen=True)
class HistoryFacts:
    """What a comparison uses of a history besides points.

    ``noise`` returns the noise between the sessions of a pair's target, ``levels`` are the accepted levels, and
    ``between`` returns by how much calibrated boards differ (``hil.compare.calibrated_boards``).
    """

    noise: Callable[[Pair], SessionNoise | None] | None = None
    levels: Sequence[Level] = ()
    between: Between | None = None


def compare(base: Side, cand: Side, settings: Settings, history_facts: HistoryFacts | None = None) -> Compared:
    """Compare the candidate with the base and return every row of either side.

    Raises ``UserError`` if a side has no points or an unusable run, or if both sides share a run.
    """
    history_facts = history_facts or HistoryFacts()
    for side in (base, cand):
        _refuse_unusable(side)
    row_pairs = pairs(base, cand)
    confounded = environment.confounded(base, cand)
    known = Known(
        settings=settings,
        methods={**base.methods, **cand.methods},
        environments={**base.environments, **cand.environments},
        names=(base.name, cand.name),
        confounded=None if settings.across_boards else confounded,
        noise=history_facts.noise,
        levels=history_facts.levels,
        machines={run.id: machine_of(run.serial, cand.facts_of(run.id)) for run in cand.runs},
    )
    models = list(dict.fromkeys(pair.key[1] for pair in row_pairs))
    rows = sorted(
        judge_across_boards(row_pairs, known, history_facts.between)
        if known.confounded and history_facts.between
        else judge_pairs(row_pairs, known),
        key=lambda row: (models.index(row.model), row.precision, order(row.check), row.scenario),
    )
    return Compared(
        base=base.used,
        cand=cand.used,
        rows=tuple(rows),
        changed=environment.changed(base, cand),
        confounded=confounded
        if settings.across_boards or any(row.status is Status.CONFOUNDED for row in rows)
        else None,
        uncontrolled=uncontrolled(base, cand),
    )


def _refuse_unusable(side: Side) -> None:
    """Raise ``UserError`` if the side has no points, a fallback run or an unfinished run."""
    if not side.points:
        raise UserError(
            f"{side.name}: it has no measurements: run pytest --target=NAME first; hil history lists the runs"
        )
    for run in side.runs:
        if run.fallback:
            what = f"{run.used} was used instead of {run.target}"
        elif not run.usable:
            what = "it did not finish"
        else:
            continue
        raise UserError(f"{side.name}: run {run.id} cannot be compared, {what}: run it again, or name another run")


def document(
    comparisons: Sequence[Compared], settings: Settings, by: str | None = None, model: str | None = None
) -> Document:
    """Return the comparisons as one document.

    It passes if there are comparisons and all of them pass. ``by`` is the kind of a matrix's columns, ``model`` the
    only model that was compared. Raises ``UserError`` if a pattern of ``settings.rows`` matches no compared row.
    """
    refuse_unmatched([row for each in comparisons for row in each.rows], settings)
    passed = bool(comparisons) and all(each.passed for each in comparisons)
    return Document(
        hil_version=__version__, by=by, model=model, settings=settings, passed=passed, comparisons=tuple(comparisons)
    )


def group_of(run: RunRecord, by: By) -> str:
    """Return the name of the matrix column that ``run`` belongs to."""
    if by == "jetpack":
        return run.jetpack or NONE[by]
    if by == "commit":
        return NONE[by] if run.commit is None else run.commit[:SHORT] + (" with changes" if run.dirty else "")
    return run.target


def sides_by(
    points: Sequence[Point], by: By, methods: Mapping[str, Facts], environments: Mapping[str, Facts]
) -> tuple[Side, ...]:
    """Return the points grouped by JetPack release, commit or target, as one side per group.

    JetPack releases are sorted by version, commits and targets by the time of their first run. Fallback runs and
    unfinished runs are left out.
    """
    groups: dict[str, list[Point]] = {}
    for point in points:
        if point.run.usable:
            groups.setdefault(group_of(point.run, by), []).append(point)
    sides = [_side(name, group, methods, environments) for name, group in groups.items()]
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
    sides: Sequence[Side], base: str | None, settings: Settings, history_facts: HistoryFacts | None = None
) -> tuple[Compared, ...]:
    """Compare every other side with the side named ``base`` (by default the first side).

    Raises ``UserError`` if there are fewer than two sides, if no side has that name, or if ``compare`` raises it.
    """
    names = [side.name for side in sides]
    if len(names) < 2:
        present = f"only the column {names[0]}" if names else "no usable run"
        more = "run the suites once more, with another target, JetPack or commit"
        raise UserError(f"the history has {present}, and a comparison needs two columns: {more}")
    if base is not None and base not in names:
        raise UserError(f"--base {base}: no column has this name{did_you_mean(base, names)}")
    first = next(side for side in sides if base in {None, side.name})
    return tuple(compare(first, side, settings, history_facts) for side in sides if side is not first)
