"""The databases that a history supports."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.history import postgresql

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATABASES = ("sqlite", "postgresql")
_numbers = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[postgresql.Server]:
    """A PostgreSQL server for all tests of the process."""
    if postgresql.programs() is None:
        pytest.skip("PostgreSQL is not installed")
    with postgresql.server() as running:
        yield running


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, SQLite and PostgreSQL in turn."""
    return _empty(request, tmp_path)


@pytest.fixture(params=DATABASES, scope="module")
def module_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a database for tests of one module that do not change it, SQLite and PostgreSQL in turn."""
    return _empty(request, tmp_path_factory.mktemp("history"))


def _empty(request: pytest.FixtureRequest, folder: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{folder}/history.db"
    running: postgresql.Server = request.getfixturevalue("server")
    return running.database(f"hil{next(_numbers)}")
