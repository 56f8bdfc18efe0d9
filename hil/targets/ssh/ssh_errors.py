"""Defines an error class for each reason why a machine cannot be reached over SSH.

All classes except ``ChangedHostKey`` are ``TargetUnreachable``, so that a fallback target may be used.
"""

from __future__ import annotations

from hil.errors import LabError, TargetUnreachable


class UnknownHostKey(TargetUnreachable):
    """No key of this host is known. The message has the fingerprint of the host's key, and how to add the key."""


class ChangedHostKey(LabError):  # noqa: N818 - named like its siblings, whose base has no suffix either
    """The host's key differs from the known one, or was revoked."""


class RefusedKey(TargetUnreachable):
    """The server accepted none of the keys that may be tried."""


class UnknownHost(TargetUnreachable):
    """The host's name does not resolve to an address."""


class PortClosed(TargetUnreachable):
    """The machine answers, but nothing listens on the port; or the jump host cannot connect to the machine."""


class NoAnswer(TargetUnreachable):
    """The machine did not answer within the time limit, or there is no route to it."""


class NotSsh(TargetUnreachable):
    """The server sent no SSH greeting, or shares no algorithm with us."""


class ProxyFailed(TargetUnreachable):
    """The ``ProxyCommand`` of the SSH config ended before there was a connection."""


class ConnectionLost(TargetUnreachable):
    """The connection broke, or a command cannot be started over it."""
