"""The amendments for limits and tolerances with an expiry date: after that date no row passes because of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.checks.expiry import stated, unexpired
from hil.checks.tolerances import in_force

if TYPE_CHECKING:
    from hil.results import Judgement, Row
    from hil.session.amendments.row_facts import Facts

TOLERATED = frozenset(
    {"parity.outputs", "parity.task", "property.parity", "int8.drop"}
    | {f"sequence.{name}" for name in ("teacher_forced", "free_running", "isolation")}
)
"""Checks that are judged by ``[models.NAME.tolerances.PRECISION]``."""


def expire_limit(row: Row, judgement: Judgement, facts: Facts) -> Judgement:
    """Return a passed or warned judgement as inconclusive if the row's limit has expired; else return it unchanged."""
    limit = row.limit
    if limit is None or facts.today is None:
        return judgement
    return unexpired(judgement, f"the limit ({limit.source})", limit.expires, limit.reason, facts.today)


def expire_tolerance(_row: Row, judgement: Judgement, facts: Facts) -> Judgement:
    """Return the judgement with the row's tolerances, and who accepted them, in the details.

    A passed or warned judgement becomes inconclusive if the tolerances have expired.
    """
    tolerances = facts.tolerances
    if tolerances is None:
        return judgement
    table = tolerances.table
    details = {
        **judgement.details,
        "tolerances": in_force(tolerances.precision, table, tolerances.dtypes, tolerances.answered),
    }
    if table is not None:
        if accepted := stated(table):
            details["tolerance_given"] = accepted
        if facts.today is not None:
            what = f"the tolerance ({tolerances.where})"
            judgement = unexpired(judgement, what, table.expires, table.why, facts.today)
    return judgement.model_copy(update={"details": details})
