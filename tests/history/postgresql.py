"""A PostgreSQL server for tests, started from the distribution's package as an unprivileged user."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

USER, PASSWORD = "hil", "p@ss:w/rd"
CONFIG = (
    "-c fsync=off -c max_connections=60 -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -p {port}"
)


def programs() -> Path | None:
    """Return the folder with the programs of the newest installed server; ``None`` without one."""
    paths = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[-3]))
    return paths[-1].parent if paths else None


@dataclass(frozen=True)
class Server:
    """A running server; each ``database()`` creates a new database."""

    port: int

    def url(self, database: str, *, password: str = PASSWORD, host: str = "127.0.0.1") -> str:
        """Return the URL of a database, with the password percent-encoded."""
        return str(
            sa.URL.create("postgresql+psycopg", USER, password, host, self.port, database).render_as_string(
                hide_password=False
            )
        )

    def database(self, name: str) -> str:
        """Create a database and return its URL."""
        engine = sa.create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
        return self.url(name)


@contextlib.contextmanager
def server() -> Iterator[Server]:
    """Start a server and stop it afterwards; requires ``programs()``."""
    binaries = programs()
    assert binaries is not None
    folder = Path(tempfile.mkdtemp(prefix="hil-pg-"))
    try:
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(folder, account.pw_uid, account.pw_gid)
        secret = folder / "password"
        secret.write_text(PASSWORD, encoding="utf-8")
        secret.chmod(0o644)
        data = str(folder / "data")
        auth = ("--auth=scram-sha-256", "-U", USER, f"--pwfile={secret}", "-E", "UTF8", "--no-sync")
        _as_postgres(binaries / "initdb", "-D", data, *auth)
        port = free_port()
        options = CONFIG.format(folder=folder, port=port)
        _as_postgres(binaries / "pg_ctl", "-D", data, "-l", str(folder / "log"), "-w", "-o", options, "start")
        try:
            yield Server(port)
        finally:
            _as_postgres(binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_postgres(program: Path, *arguments: str) -> None:
    before = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    done = subprocess.run(  # the server would keep a pipe open, so its output is discarded
        [*before, str(program), *arguments], cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
