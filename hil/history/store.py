"""``History``: what is kept in one database, and how it is added to. Nothing in it is ever changed or removed."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from hil.errors import UserError
from hil.history import queries, references, table_version
from hil.history.add_run import write
from hil.history.connect import WRITES, engine_for, passing
from hil.history.database_errors import told
from hil.history.derive import derive
from hil.history.entries import Acceptance, Baseline, By, Noise, Point, RunRecord
from hil.history.rows import added_of, added_row
from hil.history.tables import ACCEPTANCES, BASELINES, FACTS, NOISE, RUN_MODELS, RUNS
from hil.history.urls import place_of
from hil.text import cleaned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from hil.report.schema import Report

T = TypeVar("T")

ATTEMPTS = 3


class History:
    """One history, open; a context manager. Made by ``hil.history.open_history``."""

    def __init__(self, url: str, *, read_only: bool, base: Path) -> None:
        self.place = place_of(url, base)
        self.read_only = read_only
        with told(self.place):
            self._engine = engine_for(self.place, read_only=read_only)
            if read_only:
                self.version = self._read(lambda connection: table_version.version_of(connection, self.place))
            else:
                table_version.migrate(self._engine, self.place)
                self.version = table_version.NEWEST

    def __enter__(self) -> History:  # noqa: PYI034 - typing.Self is of Python 3.11
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the database."""
        self._engine.dispose()

    def check(self) -> None:
        """Raises as ``append`` would for a database that cannot be written; writes nothing."""
        self._write(lambda connection: connection.execute(sa.select(RUNS.c.seq).limit(1)).first())

    def append(self, report: Report) -> bool:
        """Keeps a report in one transaction; ``False`` if it is there already, and then nothing changes.

        Tried again after a lost connection: a report that was kept all the same is found then. Raises ``UserError``
        if another report of the same run is there, ``LabError`` for a database that fails.
        """
        derived = derive(report)
        return self._write(lambda connection: write(connection, derived))

    def runs(self, *, limit: int | None = 50, model: str | None = None, target: str | None = None) -> list[RunRecord]:
        """The newest runs, newest first, whatever became of them."""
        where = [] if target is None else [RUNS.c.target == target]
        return self._read(lambda connection: queries.runs(connection, where=where, limit=limit, model=model))

    def models(self, runs: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The models that were measured in each of these runs."""
        query = sa.select(RUNS.c.id, RUN_MODELS.c.model).join(RUNS, RUNS.c.seq == RUN_MODELS.c.run)
        found: dict[str, tuple[str, ...]] = {}
        rows = self._read(lambda connection: connection.execute(query.where(RUNS.c.id.in_(runs))).all())
        for run_id, model in sorted((str(run_id), str(model)) for run_id, model in rows):
            found[run_id] = (*found.get(run_id, ()), model)
        return found

    def resolve(self, ref: str, *, model: str | None = None, target: str | None = None) -> tuple[RunRecord, ...]:
        """The usable runs that ``ref`` names (``hil.history.references``), newest first.

        Raises ``UserError`` if there is none or more than one meaning, with what is nearest.
        """
        return self._read(lambda connection: references.resolve(self._scope(connection, model, target), ref))

    def find(self, ref: str) -> RunRecord:
        """The one run to show for ``ref``, usable or not. Raises ``UserError``."""
        return self._read(lambda connection: references.find(self._scope(connection), ref))

    def _scope(
        self, connection: sa.Connection, model: str | None = None, target: str | None = None
    ) -> references.Scope:
        names = partial(self._added_in, connection, BASELINES, Baseline)
        return references.Scope(connection, names, model, target)

    def points(
        self,
        runs: Sequence[str],
        *,
        model: str | None = None,
        precision: str | None = None,
        checks: Iterable[str] | None = None,
    ) -> list[Point]:
        """All that was measured in these runs (by id), run by run in the order given; ``checks`` are exact ids."""
        return self._read(
            lambda connection: queries.points(connection, runs, model=model, precision=precision, checks=checks)
        )

    def matrix(
        self, by: By, *, model: str | None = None, target: str | None = None, per_group: int = 10, groups: int = 12
    ) -> list[Point]:
        """The points of the newest usable runs of each JetPack, commit or target, newest run first."""
        return self._read(
            lambda connection: queries.matrix(
                connection, by, model=model, target=target, per_group=per_group, groups=groups
            )
        )

    def method(self, digest: str) -> dict[str, Any]:
        """The method that a digest stands for; empty if it is not known."""
        return self._facts(digest)

    def environment(self, digest: str) -> dict[str, Any]:
        """The environment that a digest stands for; empty if it is not known."""
        return self._facts(digest)

    def _facts(self, digest: str) -> dict[str, Any]:
        query = sa.select(FACTS.c.content).where(FACTS.c.digest == digest)
        content = self._read(lambda connection: connection.execute(query).scalar())
        return dict(cleaned(json.loads(content))) if content else {}

    def name_baseline(
        self, name: str, runs: Sequence[str], *, who: str, why: str, when: datetime | None = None
    ) -> None:
        """Gives these runs (by id) a name to compare with. Raises ``UserError`` for a name with another meaning."""
        if references.LATEST.fullmatch(name) or ":" in name or not name.strip():
            raise UserError(f"baseline {name!r}: that name means something else: choose another one")
        self._add(BASELINES, Baseline(name, tuple(runs), who, why, when or datetime.now(timezone.utc)))

    def baselines(self) -> list[Baseline]:
        """Every naming, oldest first: the last one of a name counts."""
        return self._added(BASELINES, Baseline)

    def accept(self, acceptance: Acceptance) -> None:
        """Records that a level is accepted. Raises ``UserError`` without a reason."""
        if not acceptance.why.strip():
            raise UserError(f"accept {acceptance.check} {acceptance.model}: it has no reason: say why with --why")
        self._add(ACCEPTANCES, acceptance)

    def acceptances(
        self, *, check: str | None = None, model: str | None = None, precision: str | None = None
    ) -> list[Acceptance]:
        """What was accepted, oldest first."""
        return self._added(ACCEPTANCES, Acceptance, check_id=check, model=model, precision=precision)

    def add_noise(self, noise: Noise) -> None:
        """Keeps what a calibration learned of a board."""
        self._add(NOISE, noise)

    def noise(self, serial: str, check: str, model: str, precision: str) -> Noise | None:
        """The last that was learned of this row on this board."""
        found = self._added(NOISE, Noise, serial=serial, check_id=check, model=model, precision=precision)
        return found[-1] if found else None

    def _added(self, table: sa.Table, kind: type[T], **narrow: str | None) -> list[T]:
        return self._read(lambda connection: self._added_in(connection, table, kind, **narrow))

    def _added_in(self, connection: sa.Connection, table: sa.Table, kind: type[T], **narrow: str | None) -> list[T]:
        where = [table.c[name] == value for name, value in narrow.items() if value is not None]
        query = sa.select(table).where(*where).order_by(table.c.seq)
        return [added_of(kind, row) for row in connection.execute(query).mappings()]

    def _add(self, table: sa.Table, added: Acceptance | Baseline | Noise) -> None:
        self._write(lambda connection: connection.execute(table.insert().values(added_row(added))))

    def _read(self, work: Callable[[sa.Connection], T]) -> T:
        with told(self.place), self._engine.connect() as connection, connection.begin():
            return work(connection)

    def _write(self, work: Callable[[sa.Connection], T]) -> T:
        if self.read_only:
            raise ValueError("this history was opened for reading")
        with told(self.place):
            for attempt in range(1, ATTEMPTS):
                try:
                    return self._attempt(work)
                except sa.exc.SQLAlchemyError as error:  # noqa: PERF203 - tried three times, not three thousand
                    if not passing(error):
                        raise
                    time.sleep(0.2 * attempt)
            return self._attempt(work)

    def _attempt(self, work: Callable[[sa.Connection], T]) -> T:
        with self._engine.execution_options(**{WRITES: True}).begin() as connection:
            return work(connection)
