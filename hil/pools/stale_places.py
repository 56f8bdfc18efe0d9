"""Show who holds the places of a lab, and free those whose run is not alive any more."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from hil.errors import LabError, UserError
from hil.pools.keeper_process import MARK, ask, host_name, release_command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.config.spec import TargetSpec

OURS = re.compile(rf"(?P<host>[^/]+)/.+{re.escape(MARK)}(?P<pid>[0-9]{{1,10}})-[^/]+")


def places_of(name: str, spec: TargetSpec) -> list[dict[str, Any]]:
    """Return the name (``place``), holder (``by``) and time (``since``) of each place with the tags of the target.

    ``by`` is ``None`` for a free place. ``name`` is the target's name and ``spec`` its table. Raises ``LabError`` if
    the coordinator does not answer, ``UserError`` if labgrid is not installed.
    """
    return [dict(each) for each in ask(spec, name, only="holders").get("holders", [])]


def is_stale(holder: str) -> bool:
    """Return whether ``holder`` is a pytest-hil run of this machine whose process does not exist any more."""
    ours = OURS.fullmatch(holder)
    if ours is None or ours["host"] != host_name():
        return False
    try:
        os.kill(int(ours["pid"]), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False


def described(held: Mapping[str, Any], coordinator: str) -> str:
    """Return one line about a place, an item of ``places_of``: who holds it, since when, and how to free it."""
    place, by = held["place"], held["by"]
    if not by:
        return f"place {place} is free"
    line = f"place {place} is held by {by} since {held['since']}"
    if is_stale(by):
        return f"{line}, whose run is not alive any more: free it with: hil targets --release {place}"
    return f"{line}: if you are sure that nobody uses it, free it with: {release_command(coordinator, place)}"


def release(place: str, labs: Mapping[str, TargetSpec]) -> str:
    """Free the place ``place`` if a dead run of this machine holds it; return as text what was done.

    ``labs`` are the targets of kind ``labgrid``, by name. Raises ``UserError`` if no lab has such a place, ``LabError``
    if its holder may be alive or the coordinator does not answer.
    """
    for name, spec in labs.items():
        for held in places_of(name, spec):
            if held["place"] != place:
                continue
            if not held["by"]:
                return f"place {place} is free: nothing was done"
            if not is_stale(str(held["by"])):
                raise LabError(
                    f"nothing was released, since the holder may be alive: {described(held, str(spec.coordinator))}"
                )
            ask(spec, name, only="release", place=place, by=held["by"])
            return f"place {place} was released; {held['by']} held it since {held['since']}"
    known = ", ".join(labs) or "none"
    raise UserError(
        f"there is no place {place!r}: on the targets of kind 'labgrid' in hil.toml ({known}): "
        "hil targets --check lists their places"
    )
