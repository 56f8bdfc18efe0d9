"""Read runs and points. Measurements are read by index, so the number of stored ones hardly affects the time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from hil.history.entries import INCOMPLETE, By, Point, RunRecord
from hil.history.rows import point_of, run_of
from hil.history.tables import MEASUREMENTS, RUN_MODELS, RUNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CHUNK = 500
"""Runs per query, because databases limit the parameters of a query."""
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
    """Return the runs that meet ``where`` and measured ``model`` (``None``: any model), newest first.

    Skip the ``offset`` newest and return at most ``limit`` (``None``: all).
    """
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
    """Return the points of the runs with these ids, in the order of ``ids``; unfinished runs are left out.

    ``model``, ``precision`` and ``checks`` (exact ids) select points; ``None`` selects all.
    """
    unique = list(dict.fromkeys(ids))
    by_seq: dict[int, RunRecord] = {}
    for part in _parts(unique):
        query = sa.select(RUNS).where(RUNS.c.id.in_(part), RUNS.c.decision != INCOMPLETE)
        by_seq |= {row["seq"]: run_of(row) for row in connection.execute(query).mappings()}
    position = {run_id: number for number, run_id in enumerate(unique)}
    ordered = dict(sorted(by_seq.items(), key=lambda item: position[item[1].id]))
    return _points(connection, ordered, model, precision, None if checks is None else list(checks))


def _parts(items: list[str]) -> Iterable[list[str]]:
    return (items[first : first + CHUNK] for first in range(0, len(items), CHUNK))


def _points(
    connection: sa.Connection,
    by_seq: dict[int, RunRecord],
    model: str | None,
    precision: str | None,
    checks: list[str] | None,
) -> list[Point]:
    """Return the points of the runs ``by_seq``, in the order of the runs, then by model, precision, check, scenario."""
    columns = MEASUREMENTS.c
    narrow = [column == value for column, value in ((columns.model, model), (columns.precision, precision)) if value]
    if checks is not None:
        narrow.append(columns.check_id.in_(checks))
    order = {seq: number for number, seq in enumerate(by_seq)}
    rows: list[sa.RowMapping] = []
    # An older database is only migrated when it is written to. Until then it lacks the newest columns.
    names = {column["name"] for column in sa.inspect(connection).get_columns(MEASUREMENTS.name)}
    stored = [column if column.name in names else sa.null().label(column.name) for column in columns]
    keys = list(by_seq)
    for first in range(0, len(keys), CHUNK):
        query = sa.select(*stored).where(columns.run.in_(keys[first : first + CHUNK]), *narrow)
        rows += connection.execute(query).mappings()
    rows.sort(key=lambda row: (order[row["run"]], row["model"], row["precision"], row["check_id"], row["scenario"]))
    return [point_of(row, by_seq[row["run"]]) for row in rows]


def matrix(  # noqa: PLR0913 - each is a condition of the one query
    connection: sa.Connection,
    by: By,
    *,
    model: str | None,
    target: str | None,
    per_group: int,
    groups: int,
) -> list[Point]:
    """Return the points of the ``per_group`` newest usable runs of each of the ``groups`` newest groups.

    Runs with the same JetPack release, commit or target (``by``) are a group. The newest run comes first.
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
    by_seq = {row["seq"]: run_of(row) for row in connection.execute(query).mappings()}
    return _points(connection, by_seq, model, None, None)
