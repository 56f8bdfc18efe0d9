"""Logs in to one hop by key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import paramiko

from hil.targets.ssh.agent import AgentKeys
from hil.targets.ssh.login_keys import Keys
from hil.targets.ssh.ssh_errors import ConnectionLost, NoAnswer, RefusedKey

if TYPE_CHECKING:
    from hil.targets.ssh.config.hop import Hop


def log_in(transport: paramiko.Transport, hop: Hop, where: str) -> None:
    """Log in to ``hop`` with one of its candidate keys; without candidate keys, try to log in without a key.

    ``where`` is the hop in messages. Raises ``RefusedKey``, ``NoAnswer`` or ``ConnectionLost``.
    """
    agent = AgentKeys(transport.auth_timeout, hop.agent)
    try:
        keys = Keys(hop, agent)
        tried, methods = _try(transport, hop, keys, where)
    finally:
        agent.close()
    if transport.is_authenticated():
        return
    reason = f"tried {', '.join(tried)}" if tried else "there was no key to try"
    if methods and "publickey" not in methods:
        reason += f"; the server accepts only {', '.join(methods)}, but pytest-hil logs in only by key"
    reason = "; ".join([reason, *keys.notes, *agent.notes])
    raise RefusedKey(
        f"{hop.user} could not log in at {where}: {reason}: add your public key to its ~/.ssh/authorized_keys "
        f"(`ssh-copy-id`), or set identity to the right key"
    )


def _try(transport: paramiko.Transport, hop: Hop, keys: Keys, where: str) -> tuple[list[str], list[str]]:
    """Try the keys until one is accepted; without keys, try a login without a key.

    Return the names of the tried keys, and the login methods that the server names. The methods are empty after a
    login, and if the server names none.
    """
    tried: list[str] = []
    for key, name in keys.candidates():
        tried.append(name)
        try:
            more = transport.auth_publickey(hop.user, key)
        except paramiko.BadAuthenticationType as error:
            return tried, list(error.allowed_types)
        except (paramiko.SSHException, EOFError, OSError) as error:
            if "timeout" in str(error).lower():
                raise NoAnswer(
                    f"no answer to the login at {where}: check the network, or raise connect_timeout"
                ) from None
            if transport.is_active():
                continue
            if "shut down" in str(error):
                return tried, []  # too many attempts, or a locked account
            raise ConnectionLost(
                f"the connection was lost during the login at {where}: {name}: {error}: run again"
            ) from None
        if more:
            return tried, list(more)
        return tried, []
    return tried, [] if tried else _try_none(transport, hop, where)


def _try_none(transport: paramiko.Transport, hop: Hop, where: str) -> list[str]:
    """Try to log in without a key, as some servers allow. Return the server's login methods; empty on success.

    Raise ``ConnectionLost`` if the connection breaks.
    """
    try:
        transport.auth_none(hop.user)
    except paramiko.BadAuthenticationType as error:
        return list(error.allowed_types)
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise ConnectionLost(f"the connection was lost during the login at {where}: {error}: run again") from None
    return []
