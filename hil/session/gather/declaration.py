"""Name a shape that the model's own file declares wrongly, so that a failed check does not blame the engine for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.onnx_files.declared_shapes import wrong_declaration
from hil.results import Verdict
from hil.session.amendments.row_facts import Diagnosis

if TYPE_CHECKING:
    from hil.results import Judgement, Row
    from hil.session.engine_context import EngineContext


def declaration_of(session: EngineContext, row: Row, judgement: Judgement) -> Diagnosis | None:
    """Return, as a diagnosis, which shape the ONNX file declares wrongly.

    Return ``None`` if the judgement did not fail or no shape is declared wrongly.
    """
    if judgement.verdict is not Verdict.FAILED:
        return None
    path = session.config.resolve(session.model(row.model).path)
    wrong = session.memo.once(("wrong declaration", row.model), lambda: wrong_declaration(path))
    return Diagnosis({}, wrong) if wrong else None
