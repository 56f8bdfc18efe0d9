"""What limits and tolerances are held by: who gave them, when and why, and whether they still hold."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from hil.checks.expiry import stated, unexpired
from hil.checks.tolerances import in_force
from hil.session.gather.gathered import Gathered
from hil.session.gather.parity import precision_of

if TYPE_CHECKING:
    from hil.results import Row
    from hil.session.engine_context import EngineContext

TOLERATED = frozenset({"parity.outputs", "parity.task", "property.parity", "int8.drop"})
"""What is held against ``[models.NAME.tolerances.PRECISION]``."""
FLOATS = ("float", "bfloat")
"""How the names of dtypes begin whose values may be rounded."""


def held(session: EngineContext, row: Row, gathered: Gathered) -> Gathered:
    """``gathered``, no longer good where its limit or tolerance has expired, with the tolerances and who gave them."""
    today = datetime.now(timezone.utc).date()
    judgement = gathered.judgement
    if row.limit is not None:
        what = f"the limit ({row.limit.source})"
        judgement = unexpired(judgement, what, row.limit.expires, row.limit.reason, today)
    if row.id not in TOLERATED:
        return gathered if judgement is gathered.judgement else Gathered(judgement, gathered.method)
    table = session.model(row.model).tolerances.get(precision_of(row))
    exact = {one.name: not one.dtype.startswith(FLOATS) for one in session.signature(row.model).outputs}
    details = {**judgement.details, "tolerances": in_force(precision_of(row), table, exact)}
    if table is not None:
        what = f"the tolerance ({session.config.where('models', row.model, 'tolerances', row.precision)})"
        judgement = unexpired(judgement, what, table.expires, table.why, today)
        if told := stated(table):
            details["tolerance_given"] = told
    return Gathered(judgement.model_copy(update={"details": details}), gathered.method)
