"""What limits and tolerances are held by: who gave them, when and why, and whether they still hold."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from hil.checks.expiry import stated, unexpired
from hil.session.gather.gathered import Gathered

if TYPE_CHECKING:
    from hil.model import Row
    from hil.session.core import Session

TOLERATED = frozenset({"parity.outputs", "parity.task", "int8.drop"})
"""What is held against ``[models.NAME.tolerances.PRECISION]``."""


def held(session: Session, row: Row, gathered: Gathered) -> Gathered:
    """``gathered``, no longer good where its limit or tolerance has expired; who gave a tolerance is told beside it."""
    today = datetime.now(timezone.utc).date()
    judgement = gathered.judgement
    if row.limit is not None:
        what = f"the limit ({row.limit.source})"
        judgement = unexpired(judgement, what, row.limit.expires, row.limit.reason, today)
    tolerances: Any = session.model(row.model).tolerances if row.id in TOLERATED else {}
    if row.precision in tolerances:
        table = tolerances[row.precision]
        what = f"the tolerance ({session.config.where('models', row.model, 'tolerances', row.precision)})"
        judgement = unexpired(judgement, what, table.expires, table.why, today)
        if told := stated(table):
            judgement = judgement.model_copy(update={"details": {**judgement.details, "tolerance_given": told}})
    return gathered if judgement is gathered.judgement else Gathered(judgement, gathered.method)
