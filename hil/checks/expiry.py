"""Withdraw a pass that depends on a limit or on tolerances that have expired."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from hil.results import Judgement, Verdict

if TYPE_CHECKING:
    from hil.config.spec import StatedTable

GOOD = frozenset({Verdict.PASSED, Verdict.WARNED})


def unexpired(judgement: Judgement, what: str, expires: str | None, why: str | None, today: date) -> Judgement:
    """Return ``judgement``, but inconclusive instead of passed or warned if ``expires`` is before ``today``.

    ``what`` names the limit or tolerances, ``why`` is the config's reason for these. ``expires`` is the last valid day
    (ISO 8601), ``None`` for no expiry.
    """
    if expires is None or judgement.verdict not in GOOD or today <= date.fromisoformat(expires):
        return judgement
    stated_reason = f" ({why})" if why else ""
    reason = f"{judgement.reason}; but {what} expired on {expires}{stated_reason}: renew or remove it"
    return judgement.model_copy(update={"verdict": Verdict.INCONCLUSIVE, "reason": reason})


def stated(table: StatedTable) -> dict[str, str]:
    """Return who decided on ``table``, when and why, and when it expires, as far as the config has it."""
    fields = {"reason": table.reason, "by": table.by, "date": table.date, "expires": table.expires}
    return {key: value for key, value in fields.items() if value is not None}
