"""Compare the methods of two measurements: numbers of different methods are refused, with the differing fields."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hil.compare.schema import Differing
from hil.series import comparable_digest, without_control

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ABSENT = "absent"


def flat(facts: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return every leaf of ``facts`` as text by its dotted name.

    ``{"warmup": {"seconds": 1}}`` gives ``{"warmup.seconds": "1"}``.
    """
    leaves: dict[str, str] = {}
    for key, value in facts.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            leaves.update(flat(value, f"{name}."))
        else:
            leaves[name] = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    return leaves


def differing(base: Mapping[str, Any], cand: Mapping[str, Any]) -> tuple[Differing, ...]:
    """Return the fields, except the control, in which two methods differ; a missing field has the value ``absent``."""
    ours, theirs = flat(without_control(base)), flat(without_control(cand))
    names = dict.fromkeys((*ours, *theirs))
    pairs = ((name, ours.get(name, ABSENT), theirs.get(name, ABSENT)) for name in names)
    return tuple(Differing(name=name, base=left, cand=right) for name, left, right in pairs if left != right)


def method_mismatch(
    base: Iterable[str], cand: Iterable[str], methods: Mapping[str, Mapping[str, Any]]
) -> tuple[str, tuple[Differing, ...]]:
    """Return why numbers with these method digests must not be compared, and the fields in which the methods differ.

    The reason is empty if they may be compared. ``methods`` maps digests to methods. An empty digest means that no
    method was recorded, which is a reason.
    """
    ours, theirs = (_distinct(side, methods) for side in (base, cand))
    if "" in (*ours, *theirs):
        return "no method is recorded, so it is unknown whether both were measured the same way", ()
    if len(_distinct((*ours, *theirs), methods)) == 1:
        return "", ()
    first, *others = dict.fromkeys((*ours, *theirs))
    differences = [each for other in others for each in differing(methods.get(first, {}), methods.get(other, {}))]
    fields = tuple(dict.fromkeys(differences))
    named = ", ".join(f"{each.name} ({each.base} against {each.cand})" for each in fields) or "their facts are missing"
    what = "measured by different methods"
    if len(ours) > 1 or len(theirs) > 1:
        side, many = ("the base", len(ours)) if len(ours) > 1 else ("the candidate", len(theirs))
        what = f"{side} itself was measured by {many} methods"
    return f"{what}: {named}", fields


def _distinct(digests: Iterable[str], methods: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return one digest for each different method, sorted; a digest without facts stays as it is."""
    by_method = {comparable_digest(methods.get(one), one): one for one in sorted(digests, reverse=True)}
    return sorted(by_method.values())
