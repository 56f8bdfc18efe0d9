"""``did you mean``: the nearest of the names that would have been right."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SIMILARITY = 0.6
"""difflib's ratio from which a name counts as a slip of the other; its own default."""

LISTED = 12
"""Names listed at most where none is near."""


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like ``word``, upper and lower case aside, or ``None`` if none is near."""
    by_folded = {candidate.casefold(): candidate for candidate in candidates}
    found = get_close_matches(word.casefold(), by_folded, n=1, cutoff=SIMILARITY)
    return by_folded[found[0]] if found else None


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """``": did you mean 'limits'?"``, or what there is to choose from, or nothing if there is nothing."""
    names = list(candidates)
    found = nearest(word, names)
    if found is not None:
        return f": did you mean {found!r}?"
    if not names:
        return ""
    more = ", …" if len(names) > LISTED else ""
    return f": there is {', '.join(names[:LISTED])}{more}"
