"""Check the tables of targets that are several boards: pools, and places of a labgrid coordinator."""

from __future__ import annotations

import re
from itertools import combinations
from typing import TYPE_CHECKING, Any

from hil.config.explain import Mistake
from hil.config.pools import MANY, NOT_OF_PLACES, OF_LAB, OF_POOL, OWN
from hil.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hil.config.targets import TargetSpec

TAG = re.compile(r"[a-z][a-z0-9_]+")
"""A tag's key, as labgrid's coordinator accepts it."""
SSH_PORT = 22


def mistakes(name: str, targets: Mapping[str, Any]) -> Iterator[Mistake]:
    """Yield the mistakes in the plain values of ``[targets.NAME]`` that concern pools and labs."""
    target = targets[name]
    if not isinstance(target, dict):
        return
    kind, keys = target.get("kind", "local"), ("targets", name)
    if kind == "pool":
        for key in target.keys() - OF_POOL:
            yield Mistake((*keys, key), "has no effect on a pool: write it in the tables of the pool's members")
        yield from _members(keys, target.get("members"), targets)
        return
    if kind == "labgrid":
        for key in target.keys() & NOT_OF_PLACES:
            yield Mistake((*keys, key), "has no effect on kind 'labgrid': remove it")
        yield from _lab(keys, target)
        return
    for key in target.keys() & {*OF_LAB, "members", "wait"}:
        what = "'pool' or 'labgrid'" if key == "wait" else "'pool'" if key == "members" else "'labgrid'"
        yield Mistake((*keys, key), f"has an effect only with kind {what}: remove it, or correct the kind")


def _members(keys: tuple[str, ...], members: Any, targets: Mapping[str, Any]) -> Iterator[Mistake]:
    place = (*keys, "members")
    if not isinstance(members, tuple) or not members:
        if members is None or members == ():
            yield Mistake(place, 'names no target: write e.g. members = ["orin-1", "orin-2"]')
        return
    single = [name for name, target in targets.items() if isinstance(target, dict) and target.get("kind") not in MANY]
    for member in dict.fromkeys(each for each in members if isinstance(each, str)):
        kind = targets[member].get("kind") if isinstance(targets.get(member), dict) else None
        if members.count(member) > 1:
            yield Mistake(place, f"{member!r} is listed twice: remove one")
        if member not in targets:
            yield Mistake(place, f"this file has no [targets.{member}]{did_you_mean(member, single)}")
        elif kind in MANY:
            yield Mistake(place, f"{member!r} is of kind {kind!r}, and members are single boards: name its boards")


def _lab(keys: tuple[str, ...], target: Mapping[str, Any]) -> Iterator[Mistake]:
    if "coordinator" not in target:
        yield Mistake((*keys, "kind"), "labgrid needs the key 'coordinator': its address, e.g. lab.example:20408")
    elif not str(target["coordinator"]).strip():
        yield Mistake((*keys, "coordinator"), 'is empty: write e.g. "lab.example:20408"')
    tags = target.get("filter")
    if tags is None or tags == {}:
        yield Mistake((*keys, "filter"), 'names no tag, so any place would do: write e.g. filter = { board = "orin" }')
    for tag, value in tags.items() if isinstance(tags, dict) else ():
        if TAG.fullmatch(tag) is None:
            yield Mistake(
                (*keys, "filter", tag),
                "is not a tag: write a lower-case letter, then lower-case letters, digits or '_'",
            )
        if isinstance(value, str) and (not value or not value.isprintable()):
            yield Mistake((*keys, "filter", tag), "is empty or has a control character: write the tag's value")


def unlike(targets: Mapping[str, TargetSpec]) -> Iterator[Mistake]:
    """Yield a mistake for each pair of members of a pool that are one machine, and for each member that differs.

    Members may differ from the pool's first member only in the keys in ``OWN``.
    """
    for name, pool in targets.items():
        members = {each: targets[each] for each in pool.members if each in targets} if pool.kind == "pool" else {}
        place = ("targets", name, "members")
        for (one, first), (other, second) in combinations(members.items(), 2):
            if _machine(first) == _machine(second):
                yield Mistake(place, f"{one!r} and {other!r} are the same machine with the same store: remove one")
        first_name = next(iter(members), "")
        for other, second in list(members.items())[1:]:
            differ = _differing(members[first_name], second)
            if differ:
                what = f"{first_name!r} and {other!r} differ in {', '.join(differ)}"
                yield Mistake(place, f"{what}, so it would matter which of them judges a model: make them equal")


def _differing(one: TargetSpec, other: TargetSpec) -> list[str]:
    keys = type(one).model_fields.keys() - OWN
    return sorted(key for key in keys if _value(one, key) != _value(other, key))


def _value(spec: TargetSpec, key: str) -> Any:
    value = getattr(spec, key)
    return (value, key in spec.model_fields_set) if key == "gpu_clients" else value


def _machine(spec: TargetSpec) -> tuple[Any, ...]:
    if spec.kind == "local":
        return ("local", spec.store)
    port = SSH_PORT if spec.port is None else spec.port
    serial = spec.serial  # two boards behind one address have at least two serial numbers
    return (spec.kind, (spec.host or "").lower(), port, spec.store, serial)
