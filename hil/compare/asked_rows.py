"""Decide which rows of a comparison decide its exit code; the others are information.

With ``--row`` only the named rows count. Without it, p50 and each row with a limit or a regression check count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.catalogue import CATALOGUE
from hil.compare.schema import Asked, Row, Settings, Status
from hil.config.policy import matches, named_by
from hil.errors import UserError, nearest
from hil.results import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hil.compare.sides import Pair

DEFAULT = "latency.p50"
REGRESSED = frozenset(kind.regresses for kind in CATALOGUE.values() if kind.regresses)
LIMITED = frozenset({Verdict.PASSED.value, Verdict.WARNED.value, Verdict.FAILED.value, Verdict.INCONCLUSIVE.value})
"""The verdicts of a point that was judged by a limit in its own run."""


def regression_rows(pairs: Iterable[Pair]) -> frozenset[tuple[str, str, str]]:
    """Return check, model and precision of each row that a ``regression.`` check of either side judged."""
    keys = (pair.key for pair in pairs if pair.key[0] in CATALOGUE)
    judged = ((CATALOGUE[check].regresses, model, precision) for check, model, precision, _ in keys)
    return frozenset(row for row in judged if row[0])


def asked_by(pair: Pair, settings: Settings, regressions: frozenset[tuple[str, str, str]]) -> Asked | None:
    """Return why the row affects the exit code; ``None`` if it does not.

    If ``settings.rows`` is not empty, only its patterns decide. ``regressions`` is the result of ``regression_rows``.
    """
    check, model, precision, _ = pair.key
    if settings.rows:
        return Asked.ROW if named_by(settings.rows, check, model, precision) else None
    if check == DEFAULT:
        return Asked.DEFAULT
    if (check, model, precision) in regressions or (check in REGRESSED and model in settings.regression):
        return Asked.REGRESSION
    if any(point.verdict in LIMITED for point in (*pair.base, *pair.cand)):
        return Asked.LIMIT
    return None


def settled_by_limit(row: Row, pair: Pair) -> Row:
    """Return ``row``; it no longer counts if only a limit made it count, it is unclear, and the candidate passed."""
    met = bool(pair.cand) and all(point.verdict == Verdict.PASSED.value for point in pair.cand)
    if row.asked is not Asked.LIMIT or row.status is not Status.UNCLEAR or not met:
        return row
    return row.model_copy(update={"counts": False, "reason": f"{row.reason}; the candidate meets its limit"})


def refuse_unmatched(rows: Sequence[Row], settings: Settings) -> None:
    """Raise ``UserError`` if a pattern of ``settings.rows`` is malformed, or if it matches no row that was judged."""
    judged = [row for row in rows if row.status is not Status.TOLD]
    for pattern in settings.rows:
        if not any(matches(pattern, row.check, row.model, row.precision) for row in judged):
            known = sorted({row.check for row in judged})
            similar = nearest((pattern.split() or [""])[0], known)
            hint = "" if similar is None else f": did you mean {similar!r}?"
            raise UserError(f"--row {pattern!r}: no compared row matches{hint}: the checks are {', '.join(known)}")
