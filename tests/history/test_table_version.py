from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import hil.history
from hil.errors import UserError
from hil.history import open_history, table_version
from hil.history.connect import WRITES, engine_for
from hil.history.tables import METADATA
from hil.history.urls import place_of
from hil.results import ControlSummary
from tests.history import run_reports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

HERE = Path("/")
NEXT_STEP = '''"""A step to the next version."""

import sqlalchemy as sa
from alembic import op

revision = "{next}"
down_revision = "{newest}"


def upgrade():
    op.create_table("first_table", sa.Column("seq", sa.Integer, primary_key=True))
    op.create_table("last_table", sa.Column("seq", sa.Integer, primary_key=True))
'''
CONTROL = ControlSummary(workload="net v1", windows=9, median=1e-3, low=0.9e-3, spread=0.01, drift=0.0, drift_high=0.1)
OLD, NEXT = table_version.NEWEST, table_version.NEWEST + 1


@pytest.fixture
def older(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database of the current version with two runs, and a later hil that has one more migration."""
    with open_history(url, base=HERE) as history:
        for number, jetpack in ((1, "6.1"), (2, "6.2")):
            history.append(run_reports.on_jetpack(number, jetpack))
    migrations = tmp_path / "migrations"
    shutil.copytree(Path(hil.history.__file__).with_name("migrations"), migrations)
    step = NEXT_STEP.format(next=NEXT, newest=OLD)
    (migrations / "versions" / "next_version.py").write_text(step, encoding="utf-8")
    monkeypatch.setattr(table_version, "MIGRATIONS", str(migrations))
    monkeypatch.setattr(table_version, "NEWEST", NEXT)
    return url


def writing(url: str) -> AbstractContextManager[sa.Connection]:
    """A transaction on the bare database."""
    return engine_for(place_of(url, HERE), read_only=False).execution_options(**{WRITES: True}).begin()


def test_an_older_database_migrates(older: str) -> None:
    """Migration keeps the stored runs, and old and new runs can be queried together."""
    with open_history(older, base=HERE, read_only=True) as history:
        assert history.version == OLD
        before = history.runs()
    with open_history(older, base=HERE) as history:
        assert history.runs() == before
        assert [run.jetpack for run in before] == ["6.2", "6.1"]
        history.append(run_reports.report(9))
        history.name_baseline("old", [before[0].id], who="ann", why="shipped")
        assert history.resolve("old") == (before[0],)
        assert {point.check for point in history.points([before[0].id])} >= {"latency.p99", "memory.peak"}
        assert len(history.runs()) == 3


def test_reading_an_older_database_changes_nothing(older: str) -> None:
    """Only opening for writing migrates; an older database can still be read in full."""
    with open_history(older, base=HERE, read_only=True) as history:
        assert history.baselines() == []
        assert history.noise("1", "latency.p50", "digits", "fp32") is None
        assert history.resolve("latest")[0].jetpack == "6.2"
        with pytest.raises(UserError, match="there is no such run"):
            history.resolve("release")
    with open_history(older, base=HERE, read_only=True) as history:
        assert history.version == OLD


def test_a_database_of_the_first_version_is_read_and_migrated(url: str) -> None:
    """A database of version 1 is read without controls and disturbances; after migration it stores them."""
    with open_history(url, base=HERE) as history:
        history.append(run_reports.report(1))
    with writing(url) as connection:
        for column in ("control", "disturbed"):
            connection.execute(sa.text(f"ALTER TABLE measurements DROP COLUMN {column}"))
        connection.execute(sa.text("UPDATE hil_schema SET version_num = '1'"))
    with open_history(url, base=HERE, read_only=True) as history:
        assert history.version == 1
        old = history.points([history.runs()[0].id])
        assert {(point.control, point.disturbed) for point in old} == {(None, ())}
    with open_history(url, base=HERE) as history:
        assert history.points([history.runs()[0].id]) == old
        history.append(run_reports.with_control(2, CONTROL))
        controls = {point.check: point.control for point in history.points([history.runs()[0].id])}
        assert controls["latency.p99"] == CONTROL
        assert controls["build.seconds"] is None


def test_a_newer_database_is_refused(url: str) -> None:
    """An old hil neither writes to nor reads from a newer schema."""
    open_history(url, base=HERE).close()
    with writing(url) as connection:
        connection.execute(sa.text("UPDATE hil_schema SET version_num = :next"), {"next": str(NEXT)})
    for read_only in (True, False):
        with pytest.raises(UserError, match=rf"schema version {NEXT}, this hil supports {OLD}: install a newer"):
            open_history(url, base=HERE, read_only=read_only)


def test_another_programs_database_is_refused(url: str) -> None:
    """A database of another program is refused and not written to."""
    for table in ("runs", "measurements"):
        with writing(url) as connection:
            connection.execute(sa.text(f"CREATE TABLE {table} (x INTEGER)"))
        with pytest.raises(UserError, match="another program"):
            open_history(url, base=HERE)
        with writing(url) as connection:
            assert sa.inspect(connection).get_table_names() == [table]
            connection.execute(sa.text(f"DROP TABLE {table}"))


def test_a_migration_that_fails_leaves_the_old_schema(older: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All steps of a migration are committed together or not at all."""
    real = sa.Connection.execute

    def execute(self: sa.Connection, statement: Any, *args: Any, **kwargs: Any) -> Any:
        if "last_table" in str(statement) or "last_table" in str(getattr(statement, "element", "")):
            raise KeyboardInterrupt
        return real(self, statement, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(sa.Connection, "execute", execute)
        with pytest.raises(KeyboardInterrupt):
            open_history(older, base=HERE)
    with open_history(older, base=HERE, read_only=True) as history:
        assert history.version == OLD
        assert len(history.runs()) == 2
    with open_history(older, base=HERE) as history:
        assert history.version == NEXT


@pytest.fixture
def migrated(url: str) -> Iterator[sa.Connection]:
    """A connection to a database that the migrations created."""
    open_history(url, base=HERE).close()
    with writing(url) as connection:
        yield connection


def test_the_migrations_create_the_tables(migrated: sa.Connection) -> None:
    """``tables.py`` lists exactly the columns that the migrations create."""
    inspector = sa.inspect(migrated)
    for table in METADATA.sorted_tables:
        assert {column["name"] for column in inspector.get_columns(table.name)} == set(table.columns.keys()), table.name
    context = MigrationContext.configure(migrated, opts={"version_table": table_version.VERSION_TABLE})
    changes = [change for change in compare_metadata(context, METADATA) if change[0] in ("add_table", "remove_table")]
    assert not changes
