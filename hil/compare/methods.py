"""Were two numbers taken alike? Numbers of different methods are refused, with the fields that differ."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hil.compare.schema import Differing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ABSENT = "absent"


def flat(facts: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """``{"warmup": {"seconds": 1}}`` -> ``{"warmup.seconds": "1"}``: every leaf under its dotted name, as text."""
    found: dict[str, str] = {}
    for key, value in facts.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            found.update(flat(value, f"{name}."))
        else:
            found[name] = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    return found


def differing(base: Mapping[str, Any], cand: Mapping[str, Any]) -> tuple[Differing, ...]:
    """The fields in which two methods differ, by dotted name; a field that one side lacks is ``absent`` there."""
    ours, theirs = flat(base), flat(cand)
    names = dict.fromkeys((*ours, *theirs))
    pairs = ((name, ours.get(name, ABSENT), theirs.get(name, ABSENT)) for name in names)
    return tuple(Differing(name=name, base=left, cand=right) for name, left, right in pairs if left != right)


def unlike(
    base: Iterable[str], cand: Iterable[str], methods: Mapping[str, Mapping[str, Any]]
) -> tuple[str, tuple[Differing, ...]]:
    """Why numbers with these digests of methods may not be compared (empty: they may), and the fields that differ.

    ``methods`` has the facts behind the digests. A number without a method was taken nobody knows how: refused too.
    """
    ours, theirs = sorted(set(base)), sorted(set(cand))
    if "" in (*ours, *theirs):
        return "no method is recorded: nobody knows whether both were measured alike", ()
    if len(ours) == len(theirs) == 1 and ours == theirs:
        return "", ()
    first, *others = dict.fromkeys((*ours, *theirs))
    found = [each for other in others for each in differing(methods.get(first, {}), methods.get(other, {}))]
    fields = tuple(dict.fromkeys(found))
    named = ", ".join(f"{each.name} ({each.base} against {each.cand})" for each in fields) or "their facts are lost"
    whose = "measured by different methods"
    if len(ours) > 1 or len(theirs) > 1:
        side, many = ("the base", len(ours)) if len(ours) > 1 else ("the candidate", len(theirs))
        whose = f"{side} itself was measured by {many} methods"
    return f"{whose}: {named}", fields
