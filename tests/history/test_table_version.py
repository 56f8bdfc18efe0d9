from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from hil.errors import UserError
from hil.history import open_history, table_version
from hil.history.add_run import write
from hil.history.connect import WRITES, engine_for
from hil.history.derive import derive
from hil.history.tables import METADATA
from hil.history.urls import place_of
from tests.history import kept

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

HERE = Path("/")
V1 = Path(__file__).with_name("v1.sql")


@pytest.fixture
def older(url: str) -> str:
    """A database of schema 1 with two runs in it; in SQLite a file that was written by schema 1's own code."""
    place = place_of(url, HERE)
    if place.file is not None:
        with sqlite3.connect(place.file) as connection:
            connection.executescript(V1.read_text(encoding="utf-8"))
        connection.close()
        return url
    with writing(url) as transaction:
        table_version.steps(transaction, 1)
        for number, jetpack in ((1, "6.1"), (2, "6.2")):
            write(transaction, derive(kept.on_jetpack(number, jetpack)))
    return url


def writing(url: str) -> AbstractContextManager[sa.Connection]:
    """A transaction on the bare database."""
    return engine_for(place_of(url, HERE), read_only=False).execution_options(**{WRITES: True}).begin()


def test_an_older_database_migrates(older: str) -> None:
    """What it holds stays, what is new can be used, and old and new runs stand beside each other."""
    with open_history(older, base=HERE, read_only=True) as history:
        assert history.version == 1
        before = history.runs()
    with open_history(older, base=HERE) as history:
        assert history.runs() == before
        assert [run.jetpack for run in before] == ["6.2", "6.1"]
        history.append(kept.report(9))
        history.name_baseline("old", [before[0].id], who="ann", why="shipped")
        assert history.resolve("old") == (before[0],)
        assert {point.check for point in history.points([before[0].id])} >= {"latency.p99", "memory.peak"}
        assert len(history.runs()) == 3


def test_looking_at_an_older_database_changes_nothing(older: str) -> None:
    """Only who writes migrates; until then there are no baselines, and nobody stumbles over that."""
    with open_history(older, base=HERE, read_only=True) as history:
        assert history.baselines() == []
        assert history.noise("1", "latency.p50", "digits", "fp32") is None
        assert history.resolve("latest")[0].jetpack == "6.2"
        with pytest.raises(UserError, match="names no run"):
            history.resolve("release")
    with open_history(older, base=HERE, read_only=True) as history:
        assert history.version == 1


@pytest.mark.parametrize("read_only", [True, False])
def test_a_newer_database_is_refused(url: str, read_only: bool) -> None:
    """An old hil neither writes into what it does not know nor tells half of it."""
    with open_history(url, base=HERE) as history:
        history.append(kept.report(1))
    with writing(url) as connection:
        connection.execute(sa.text("UPDATE hil_schema SET version_num = '3'"))
    with pytest.raises(UserError, match=r"schema 3, this hil knows 2: pip install -U"):
        open_history(url, base=HERE, read_only=read_only)


@pytest.mark.parametrize("table", ["runs", "measurements"])
def test_another_programs_database_is_refused(url: str, table: str) -> None:
    """A mistaken URL writes nothing into somebody else's data."""
    with writing(url) as connection:
        connection.execute(sa.text(f"CREATE TABLE {table} (x INTEGER)"))
    with pytest.raises(UserError, match="another program"):
        open_history(url, base=HERE)
    with writing(url) as connection:
        assert sa.inspect(connection).get_table_names() == [table]


def test_a_migration_that_fails_leaves_the_old_schema(older: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are taken together or not at all."""
    real = sa.Connection.execute

    def execute(self: sa.Connection, statement: Any, *args: Any, **kwargs: Any) -> Any:
        if "noise_row" in str(statement) or "noise_row" in str(getattr(statement, "element", "")):
            raise KeyboardInterrupt
        return real(self, statement, *args, **kwargs)

    monkeypatch.setattr(sa.Connection, "execute", execute)
    with pytest.raises(KeyboardInterrupt):
        open_history(older, base=HERE)
    monkeypatch.undo()
    with open_history(older, base=HERE, read_only=True) as history:
        assert history.version == 1
        assert len(history.runs()) == 2
    with open_history(older, base=HERE) as history:
        assert history.version == table_version.NEWEST


@pytest.fixture
def made(url: str) -> Iterator[sa.Connection]:
    """A connection to a database that the migrations made."""
    open_history(url, base=HERE).close()
    with writing(url) as connection:
        yield connection


def test_tables_are_what_the_migrations_make(made: sa.Connection) -> None:
    """The queries' picture of the tables has every column that there is, and no other."""
    found = sa.inspect(made)
    for table in METADATA.sorted_tables:
        assert {column["name"] for column in found.get_columns(table.name)} == set(table.columns.keys()), table.name
    context = MigrationContext.configure(made, opts={"version_table": table_version.VERSION_TABLE})
    changes = [change for change in compare_metadata(context, METADATA) if change[0] in ("add_table", "remove_table")]
    assert not changes
