"""A limit or a tolerance that somebody gave until a day: from the next day on nothing passes by it."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from hil.results import Judgement, Verdict

if TYPE_CHECKING:
    from hil.config.spec import StatedTable

GOOD = frozenset({Verdict.PASSED, Verdict.WARNED})


def unexpired(judgement: Judgement, what: str, expires: str | None, why: str | None, today: date) -> Judgement:
    """``judgement``, inconclusive if it is good by ``what``, which held until ``expires`` (ISO 8601, included).

    What has failed stays failed. ``why`` is the reason that was given.
    """
    if expires is None or judgement.verdict not in GOOD or today <= date.fromisoformat(expires):
        return judgement
    given = f" ({why})" if why else ""
    reason = f"{judgement.reason}; but {what} expired on {expires}{given}: decide again, or take it out"
    return judgement.model_copy(update={"verdict": Verdict.INCONCLUSIVE, "reason": reason})


def stated(table: StatedTable) -> dict[str, str]:
    """Who decided what is in ``table``, when and why, as far as it is written."""
    told = {"reason": table.reason, "by": table.by, "date": table.date, "expires": table.expires}
    return {key: value for key, value in told.items() if value is not None}
