"""Fixtures: an isolated home folder, and machines reached over SSH (real sshds on localhost)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from hil.config.spec import TargetSpec
from tests.targets.sshd import USER, Server, make_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class MakeServer(Protocol):
    def __call__(self, *options: str, key: Path | None = None) -> Server: ...


class Machine:
    """A machine reached over SSH: its server, its folders and its target spec."""

    def __init__(self, home: Path, server: Server, store: Path) -> None:
        self.home = home
        self.server = server
        self.store = store
        self.identity = home / ".ssh" / "id_ed25519"
        self.known_hosts = home / ".ssh" / "known_hosts"

    def keys(self, **keys: Any) -> dict[str, Any]:
        """Return the config keys of a target on this machine; ``keys`` override them."""
        address = {"host": "127.0.0.1", "port": self.server.port, "user": USER, "python": sys.executable}
        return {"kind": "ssh", "store": str(self.store), **address, **keys}

    def spec(self, **keys: Any) -> TargetSpec:
        """Return ``keys()`` as a spec."""
        return TargetSpec.model_validate(self.keys(**keys))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set HOME to a new folder with ``.ssh`` and one key, disable the SSH agent, and return the folder."""
    folder = tmp_path / "home"
    (folder / ".ssh").mkdir(parents=True, mode=0o700)
    make_key(folder / ".ssh" / "id_ed25519")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return folder


@pytest.fixture
def serve(tmp_path: Path, home: Path) -> Iterator[MakeServer]:
    """Start servers that accept the home folder's key; they end with the test."""
    servers: list[Server] = []

    def make(*options: str, key: Path | None = None) -> Server:
        public = home / ".ssh" / "id_ed25519.pub"
        servers.append(Server(tmp_path / f"sshd{len(servers)}", public, *options, key=key))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def machine(tmp_path: Path, home: Path, serve: MakeServer) -> Machine:
    """Return a machine whose host key is known."""
    made = Machine(home, serve(), tmp_path / "far" / "store")
    made.known_hosts.write_text(made.server.known_line())
    return made
