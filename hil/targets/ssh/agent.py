"""Reads keys from the user's SSH agent: only when a login needs them, and with a time limit."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

from paramiko.agent import AgentSSH, get_agent_connection

from hil.targets.words import QUOTED
from hil.text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

    import paramiko


class _Agent(AgentSSH):  # type: ignore[misc]  # paramiko ships no types
    """A connection like ``paramiko.Agent``, but with a timeout, and with its socket closed on failure."""

    def __init__(self, patience: float, place: str | None) -> None:
        super().__init__()
        connection = get_agent_connection() if place is None else _connection(place)
        if connection is None:
            return
        try:
            connection.settimeout(patience)
            self._connect(connection)
            connection.settimeout(None)  # the user may have to confirm a signature; the login has a deadline of its own
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        self._close()


def _connection(place: str) -> socket.socket | None:
    """Return a connection to the agent's socket at the path ``place``; ``None`` if ``place`` is empty.

    Raise ``OSError`` if there is no agent.
    """
    if not place:
        return None
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(place)
    except BaseException:
        connection.close()
        raise
    return connection


class AgentKeys:
    """The keys that the SSH agent holds.

    ``notes`` states why a running agent is unusable; otherwise it is empty. ``patience``, in seconds, limits the wait
    for the agent's answer. ``place`` is the path of the agent's socket; an empty path stands for no agent, ``None`` for
    the socket of SSH_AUTH_SOCK.
    """

    def __init__(self, patience: float, place: str | None = None) -> None:
        """Connect to nothing yet: ``keys`` connects."""
        self.notes: list[str] = []
        self._patience = patience
        self._place = place
        self._agent: _Agent | None = None
        self._failure: str | None = None
        self._keys: dict[bytes, paramiko.PKey] | None = None

    def keys(self) -> Mapping[bytes, paramiko.PKey]:
        """Return the agent's keys by their public part; empty if there is no agent, or no answer in time."""
        if self._keys is None:
            # A thread, because paramiko waits without limit for the socket of an agent that hangs.
            thread = threading.Thread(target=self._connect, name="hil-ssh-agent", daemon=True)
            thread.start()
            thread.join(self._patience)
            if self._agent is None:
                self.notes.append(self._failure or f"the SSH agent did not answer within {self._patience:g} s")
            self._keys = {key.asbytes(): key for key in self._agent.get_keys()} if self._agent is not None else {}
        return self._keys

    def close(self) -> None:
        """Close the connection to the agent."""
        if self._agent is not None:
            self._agent.close()

    def _connect(self) -> None:
        try:
            self._agent = _Agent(self._patience, self._place)
        except Exception as error:  # noqa: BLE001 - a broken agent may answer anything
            self._failure = f"the SSH agent cannot be used ({clean(error, QUOTED) or type(error).__name__})"
