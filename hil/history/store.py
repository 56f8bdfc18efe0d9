"""Read and add the entries of one database, through ``History``. Entries are never changed or removed."""

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
from hil.history.connect import WRITES, engine_for, is_transient
from hil.history.database_errors import database_errors
from hil.history.derive import derive
from hil.history.entries import BETWEEN, Acceptance, Baseline, By, Noise, Point, RunRecord
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
    """An open history; a context manager. ``hil.history.open_history`` creates it.

    Methods that add an entry raise ``ValueError`` if the history was opened read-only.
    """

    def __init__(self, url: str, *, read_only: bool, base: Path) -> None:
        self.place = place_of(url, base)
        self.read_only = read_only
        with database_errors(self.place):
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
        """Close the connections to the database."""
        self._engine.dispose()

    def check(self) -> None:
        """Raise the error that ``append`` would raise if the database cannot be written; write nothing."""
        self._write(lambda connection: connection.execute(sa.select(RUNS.c.seq).limit(1)).first())

    def append(self, report: Report) -> bool:
        """Add a report in one transaction. Return ``False``, without a change, if the history already has it.

        Tries again after a lost connection. Raises ``UserError`` if the history has another report of the same run,
        ``LabError`` if the database fails.
        """
        derived = derive(report)
        return self._write(lambda connection: write(connection, derived))

    def runs(self, *, limit: int | None = 50, model: str | None = None, target: str | None = None) -> list[RunRecord]:
        """Return at most ``limit`` runs (``None``: all), usable or not, newest first.

        ``model`` and ``target`` select runs that measured the model and were requested on the target.
        """
        where = [] if target is None else [RUNS.c.target == target]
        return self._read(lambda connection: queries.runs(connection, where=where, limit=limit, model=model))

    def models(self, runs: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the models that were measured in each of these runs, by run id."""
        query = sa.select(RUNS.c.id, RUN_MODELS.c.model).join(RUNS, RUNS.c.seq == RUN_MODELS.c.run)
        models: dict[str, tuple[str, ...]] = {}
        rows = self._read(lambda connection: connection.execute(query.where(RUNS.c.id.in_(runs))).all())
        for run_id, model in sorted((str(run_id), str(model)) for run_id, model in rows):
            models[run_id] = (*models.get(run_id, ()), model)
        return models

    def resolve(self, ref: str, *, model: str | None = None, target: str | None = None) -> tuple[RunRecord, ...]:
        """Return the usable runs that ``ref`` names, in a form of ``hil.history.references``, newest first.

        Raises ``UserError`` if no run matches or the reference is ambiguous; the message suggests similar names.
        """
        return self._read(lambda connection: references.resolve(self._scope(connection, model, target), ref))

    def find(self, ref: str) -> RunRecord:
        """Return the run, usable or not, whose id begins with ``ref``; else the newest usable run that ``ref`` names.

        Raises ``UserError`` if it names no run or is ambiguous (``references.find``).
        """
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
        """Return the points of the runs with these ids, in the order of ``runs``; unfinished runs are left out.

        ``model``, ``precision`` and ``checks`` (exact ids) select points; ``None`` selects all.
        """
        return self._read(
            lambda connection: queries.points(connection, runs, model=model, precision=precision, checks=checks)
        )

    def matrix(
        self, by: By, *, model: str | None = None, target: str | None = None, per_group: int = 10, groups: int = 12
    ) -> list[Point]:
        """Return the points of the newest usable runs of each JetPack release, commit or target, newest run first.

        At most ``groups`` releases, commits or targets are included, with at most ``per_group`` runs each.
        """
        return self._read(
            lambda connection: queries.matrix(
                connection, by, model=model, target=target, per_group=per_group, groups=groups
            )
        )

    def method(self, digest: str) -> dict[str, Any]:
        """Return the method with this digest; empty if it is unknown."""
        return self._facts(digest)

    def environment(self, digest: str) -> dict[str, Any]:
        """Return the environment with this digest; empty if it is unknown."""
        return self._facts(digest)

    def _facts(self, digest: str) -> dict[str, Any]:
        query = sa.select(FACTS.c.content).where(FACTS.c.digest == digest)
        content = self._read(lambda connection: connection.execute(query).scalar())
        return dict(cleaned(json.loads(content))) if content else {}

    def name_baseline(
        self, name: str, runs: Sequence[str], *, who: str, why: str, when: datetime | None = None
    ) -> None:
        """Add the baseline ``name`` for the runs with these ids; ``when`` is now if ``None``.

        Raises ``UserError`` if ``name`` is empty, ``latest`` or ``latest~N``, or contains a colon.
        """
        if references.LATEST.fullmatch(name) or ":" in name or not name.strip():
            raise UserError(
                f"baseline {name!r}: a name may not be empty, 'latest' or contain a colon: choose another one"
            )
        self._add(BASELINES, Baseline(name, tuple(runs), who, why, when or datetime.now(timezone.utc)))

    def baselines(self) -> list[Baseline]:
        """Return all baselines, oldest first. If several have the same name, the last one applies."""
        return self._added(BASELINES, Baseline)

    def accept(self, acceptance: Acceptance) -> None:
        """Add an acceptance. Raises ``UserError`` if it has no reason."""
        if not acceptance.why.strip():
            raise UserError(f"accept {acceptance.check} {acceptance.model}: the reason is missing: give it with --why")
        self._add(ACCEPTANCES, acceptance)

    def acceptances(
        self, *, check: str | None = None, model: str | None = None, precision: str | None = None
    ) -> list[Acceptance]:
        """Return the acceptances of ``check``, ``model`` and ``precision`` (``None``: any), oldest first."""
        return self._added(ACCEPTANCES, Acceptance, check_id=check, model=model, precision=precision)

    def add_noise(self, noise: Noise) -> None:
        """Add the result of a noise calibration."""
        self._add(NOISE, noise)

    def noise(self, serial: str, check: str, model: str, precision: str) -> Noise | None:
        """Return the latest noise of this row on the machine ``serial`` (see ``Noise``); ``None`` if none is stored."""
        entries = self._added(NOISE, Noise, serial=serial, check_id=check, model=model, precision=precision)
        return entries[-1] if entries else None

    def between_boards(self, serials: Iterable[str], check: str, model: str, precision: str) -> Noise | None:
        """Return this row's latest noise between boards, from a calibration that had all of ``serials``.

        Return ``None`` if there is no such calibration.
        """
        entries = self._added(NOISE, Noise, check_id=check, model=model, precision=precision)
        boards = [each for each in entries if each.serial.startswith(BETWEEN)]
        fitting = [each for each in boards if set(serials) <= set(json.loads(each.serial.removeprefix(BETWEEN)))]
        return fitting[-1] if fitting else None

    def _added(self, table: sa.Table, kind: type[T], **narrow: str | None) -> list[T]:
        return self._read(lambda connection: self._added_in(connection, table, kind, **narrow))

    def _added_in(self, connection: sa.Connection, table: sa.Table, kind: type[T], **narrow: str | None) -> list[T]:
        where = [table.c[name] == value for name, value in narrow.items() if value is not None]
        query = sa.select(table).where(*where).order_by(table.c.seq)
        return [added_of(kind, row) for row in connection.execute(query).mappings()]

    def _add(self, table: sa.Table, added: Acceptance | Baseline | Noise) -> None:
        self._write(lambda connection: connection.execute(table.insert().values(added_row(added))))

    def _read(self, work: Callable[[sa.Connection], T]) -> T:
        with database_errors(self.place), self._engine.connect() as connection, connection.begin():
            return work(connection)

    def _write(self, work: Callable[[sa.Connection], T]) -> T:
        if self.read_only:
            raise ValueError("this history was opened read-only")
        with database_errors(self.place):
            for attempt in range(1, ATTEMPTS):
                try:
                    return self._attempt(work)
                except sa.exc.SQLAlchemyError as error:  # noqa: PERF203 - at most three attempts
                    if not is_transient(error):
                        raise
                    time.sleep(0.2 * attempt)
            return self._attempt(work)

    def _attempt(self, work: Callable[[sa.Connection], T]) -> T:
        with self._engine.execution_options(**{WRITES: True}).begin() as connection:
            return work(connection)
