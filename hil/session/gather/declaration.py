"""Name a shape that the model's own file declares wrongly, where a check blames the engine for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.onnx_files.declared_shapes import wrong_declaration
from hil.results import Judgement, Verdict

if TYPE_CHECKING:
    from hil.results import Row
    from hil.session.engine_context import EngineContext


def naming_the_declaration(session: EngineContext, row: Row, judgement: Judgement) -> Judgement:
    """Add to a failed judgement which shape the ONNX file declares wrongly, if it does: then the engine is right."""
    if judgement.verdict is not Verdict.FAILED:
        return judgement
    path = session.config.resolve(session.model(row.model).path)
    wrong = session.memo.once(("wrong declaration", row.model), lambda: wrong_declaration(path))
    return judgement.model_copy(update={"reason": f"{judgement.reason}; {wrong}"}) if wrong else judgement
