"""A home folder of one's own, and machines to reach over SSH: real sshds on localhost."""

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
    """What a test knows of the machine it reaches: the server, the folders, how it is described."""

    def __init__(self, home: Path, server: Server, store: Path) -> None:
        self.home = home
        self.server = server
        self.store = store
        self.identity = home / ".ssh" / "id_ed25519"
        self.known_hosts = home / ".ssh" / "known_hosts"

    def keys(self, **keys: Any) -> dict[str, Any]:
        """The keys of a target that is this machine; ``keys`` win."""
        given = {"host": "127.0.0.1", "port": self.server.port, "user": USER, "python": sys.executable}
        return {"kind": "ssh", "store": str(self.store), **given, **keys}

    def spec(self, **keys: Any) -> TargetSpec:
        """The same as a spec."""
        return TargetSpec.model_validate(self.keys(**keys))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder with ``.ssh`` and one key, and no SSH agent."""
    folder = tmp_path / "home"
    (folder / ".ssh").mkdir(parents=True, mode=0o700)
    make_key(folder / ".ssh" / "id_ed25519")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return folder


@pytest.fixture
def serve(tmp_path: Path, home: Path) -> Iterator[MakeServer]:
    """Starts servers that let the home's key in; they end with the test."""
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
    """A machine whose host key is known."""
    made = Machine(home, serve(), tmp_path / "far" / "store")
    made.known_hosts.write_text(made.server.known_line())
    return made
