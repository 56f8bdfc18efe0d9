"""The user's SSH agent, asked only when a key of it is needed, and never waited for long."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from paramiko.agent import AgentSSH, get_agent_connection

from hil.targets.words import QUOTED
from hil.text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

    import paramiko


class _Agent(AgentSSH):  # type: ignore[misc]  # paramiko ships no types
    """As ``paramiko.Agent``, which waits for ever and leaves its socket open where it fails."""

    def __init__(self, patience: float) -> None:
        super().__init__()
        connection = get_agent_connection()
        if connection is None:
            return
        try:
            connection.settimeout(patience)
            self._connect(connection)
            connection.settimeout(None)  # a signature may wait for its user; the login has a deadline of its own
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        self._close()


class Holder:
    """Keys by their public part; ``notes`` say why there are none. ``patience`` in seconds."""

    def __init__(self, patience: float) -> None:
        """Asks nothing yet."""
        self.notes: list[str] = []
        self._patience = patience
        self._agent: _Agent | None = None
        self._trouble: str | None = None
        self._keys: dict[bytes, paramiko.PKey] | None = None

    def keys(self) -> Mapping[bytes, paramiko.PKey]:
        """What the agent holds; nothing where there is none, or none that answers."""
        if self._keys is None:
            # It is an agent that is stuck or gone wrong, behind a socket that paramiko waits at for ever.
            asking = threading.Thread(target=self._ask, name="hil-ssh-agent", daemon=True)
            asking.start()
            asking.join(self._patience)
            if self._agent is None:
                self.notes.append(self._trouble or f"the SSH agent did not answer within {self._patience:g} s")
            self._keys = {key.asbytes(): key for key in self._agent.get_keys()} if self._agent is not None else {}
        return self._keys

    def close(self) -> None:
        """Lets go of it."""
        if self._agent is not None:
            self._agent.close()

    def _ask(self) -> None:
        try:
            self._agent = _Agent(self._patience)
        except Exception as error:  # noqa: BLE001 - whatever listens there may answer anything
            self._trouble = f"the SSH agent cannot be used ({clean(error, QUOTED) or type(error).__name__})"
