"""State which targets are several boards, and what the boards of one pool have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hil.config.targets import TargetSpec

MANY = frozenset({"pool", "labgrid"})
"""The kinds of targets that are several boards."""

OWN = frozenset(
    {"kind", "host", "user", "port", "jump", "identity", "known_hosts", "connect_timeout", "silence", "serial"}
    | {"python", "store", "store_size", "deploy"}
)
"""The keys in which members of one pool may differ: how a board is reached, and what is on its disk. All other keys
affect what is measured or judged, and it must not matter which member gets a model."""

OF_POOL = frozenset({"kind", "members", "wait"})
"""The keys that ``[targets.NAME]`` of a pool may have."""

NOT_OF_PLACES = frozenset({"host", "serial", "deploy", "members"})
"""The keys that ``[targets.NAME]`` of kind ``labgrid`` may not have."""

OF_LAB = frozenset({"coordinator", "filter", "at_most"})
"""The keys that only kind ``labgrid`` has."""


def common(pool: TargetSpec, member: TargetSpec) -> TargetSpec:
    """Return the spec of ``pool``: the spec of ``member``, any of its members, with the pool's own keys.

    The keys that reach one member and its store, such as ``host`` and ``store``, and ``deploy`` are unset.
    """
    ways = ("host", "user", "port", "jump", "identity", "known_hosts", "serial", "python", "store", "deploy")
    own: dict[str, object] = dict.fromkeys(ways)
    return member.model_copy(update={**own, "kind": pool.kind, "members": pool.members, "wait": pool.wait})
