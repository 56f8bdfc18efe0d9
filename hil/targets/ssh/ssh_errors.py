"""Why a machine cannot be reached over SSH; one class for each cause, so that nobody has to read a message.

All but a wrong host key are ``TargetUnreachable``, which a fallback may answer. A host key that is not the
known one may be an attack, and is never answered by anything but a person.
"""

from __future__ import annotations

from hil.errors import LabError, TargetUnreachable


class UnknownHostKey(TargetUnreachable):
    """No known key of this host; the message has its fingerprint and the line that would add it."""


class ChangedHostKey(LabError):  # noqa: N818 - named like its siblings, whose base has no suffix either
    """The host shows another key than the known one, or one that was revoked."""


class RefusedKey(TargetUnreachable):
    """No key that we may use opens this account."""


class UnknownHost(TargetUnreachable):
    """No address belongs to the host's name."""


class PortClosed(TargetUnreachable):
    """The machine is there, and nothing listens on its port."""


class NoAnswer(TargetUnreachable):
    """Nothing came back within the time allowed, or no way leads there."""


class NotSsh(TargetUnreachable):
    """What listens there does not speak SSH, or none that we may speak."""


class ConnectionLost(TargetUnreachable):
    """The connection broke before an agent was there."""
