"""The amendment that adds to a judgement its evidence and the processor that did its work."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hil.results import Judgement, Row
    from hil.session.amendments.row_facts import Facts


def set_evidence(_row: Row, judgement: Judgement, facts: Facts) -> Judgement:
    """Return ``judgement`` with the evidence and processor of ``facts``; both are ``None`` if the row did not run."""
    return judgement.model_copy(update={"evidence": facts.evidence, "executed_on": facts.executed_on})
