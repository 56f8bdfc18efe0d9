"""Runs and points out of the tables, by indexes and within bounds however much is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from hil.history.entries import INCOMPLETE, By, Point, RunRecord
from hil.history.rows import point_of, run_of
from hil.history.tables import MEASUREMENTS, RUN_MODELS, RUNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CHUNK = 500
"""Runs asked for at once; databases bound the parameters of a query."""
COLUMN = {"jetpack": RUNS.c.jetpack, "commit": RUNS.c.commit_id, "target": RUNS.c.target}
NEWEST_FIRST = (RUNS.c.started.desc(), RUNS.c.seq.desc())


def runs(
    connection: sa.Connection,
    *,
    where: Sequence[sa.ColumnElement[bool]] = (),
    limit: int | None = 50,
    offset: int = 0,
    model: str | None = None,
) -> list[RunRecord]:
    """The newest runs that fit, newest first."""
    query = sa.select(RUNS).where(*where, *_with_model(model)).order_by(*NEWEST_FIRST).limit(limit).offset(offset)
    return [run_of(row) for row in connection.execute(query).mappings()]


def _with_model(model: str | None) -> tuple[sa.ColumnElement[bool], ...]:
    if model is None:
        return ()
    return (sa.exists().where(RUN_MODELS.c.model == model, RUN_MODELS.c.run == RUNS.c.seq),)


def points(
    connection: sa.Connection,
    ids: Iterable[str],
    *,
    model: str | None = None,
    precision: str | None = None,
    checks: Iterable[str] | None = None,
) -> list[Point]:
    """The points of these runs, in the order of ``ids``; ``checks`` are exact ids."""
    wanted = list(dict.fromkeys(ids))
    found: dict[int, RunRecord] = {}
    for part in _parts(wanted):
        query = sa.select(RUNS).where(RUNS.c.id.in_(part), RUNS.c.decision != INCOMPLETE)
        found |= {row["seq"]: run_of(row) for row in connection.execute(query).mappings()}
    place = {run_id: number for number, run_id in enumerate(wanted)}
    ordered = dict(sorted(found.items(), key=lambda each: place[each[1].id]))
    return _points(connection, ordered, model, precision, None if checks is None else list(checks))


def _parts(items: list[str]) -> Iterable[list[str]]:
    return (items[first : first + CHUNK] for first in range(0, len(items), CHUNK))


def _points(
    connection: sa.Connection,
    of: dict[int, RunRecord],
    model: str | None,
    precision: str | None,
    checks: list[str] | None,
) -> list[Point]:
    """The points of runs by their ``seq``, run by run in the order of ``of``."""
    columns = MEASUREMENTS.c
    narrow = [column == value for column, value in ((columns.model, model), (columns.precision, precision)) if value]
    if checks is not None:
        narrow.append(columns.check_id.in_(checks))
    order = {seq: number for number, seq in enumerate(of)}
    rows: list[sa.RowMapping] = []
    keys = list(of)
    for first in range(0, len(keys), CHUNK):
        query = sa.select(MEASUREMENTS).where(columns.run.in_(keys[first : first + CHUNK]), *narrow)
        rows += connection.execute(query).mappings()
    rows.sort(key=lambda row: (order[row["run"]], row["model"], row["precision"], row["check_id"], row["scenario"]))
    return [point_of(row, of[row["run"]]) for row in rows]


def matrix(  # noqa: PLR0913 - each narrows the one query
    connection: sa.Connection,
    by: By,
    *,
    model: str | None,
    target: str | None,
    per_group: int,
    groups: int,
) -> list[Point]:
    """The points of the ``per_group`` newest usable runs of each of the ``groups`` newest groups, newest run first.

    The work is bounded by what is handed out: runs are ranked, and measurements are reached by their key alone.
    """
    column = COLUMN[by]
    narrow = [RUNS.c.usable, column.is_not(None), *_with_model(model)]
    if target is not None:
        narrow.append(RUNS.c.target == target)
    newest = sa.func.max(RUNS.c.started).over(partition_by=column).label("newest")
    place = sa.func.row_number().over(partition_by=column, order_by=NEWEST_FIRST).label("place")
    ranked = sa.select(RUNS, newest, place).where(*narrow).subquery()
    group = sa.func.dense_rank().over(order_by=(ranked.c.newest.desc(), ranked.c[column.key])).label("grp")
    grouped = sa.select(ranked, group).where(ranked.c.place <= per_group).subquery()
    query = sa.select(grouped).where(grouped.c.grp <= groups).order_by(grouped.c.started.desc(), grouped.c.seq.desc())
    found = {row["seq"]: run_of(row) for row in connection.execute(query).mappings()}
    return _points(connection, found, model, None, None)
