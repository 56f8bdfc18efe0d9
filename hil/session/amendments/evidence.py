"""What a row stands on: the processor its work ran on, and what evidence that makes it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from hil.agent.machine import probe
from hil.errors import HilError, LabError, UserError
from hil.results import Evidence, ExecutedOn

if TYPE_CHECKING:
    from hil.results import Row
    from hil.session.engine_context import EngineContext


@dataclass(frozen=True)
class Standing:
    """Of one row; both are ``None`` for one that did not run."""

    evidence: Evidence | None
    executed_on: ExecutedOn | None


NOWHERE = Standing(None, None)


def of(session: EngineContext, row: Row, *, by_engine: bool) -> Standing:
    """What ``row`` stands on, if it was an engine's work (``by_engine``) or the host's alone.

    ``device`` only where the session confirmed the declared board and this very engine ran on it.
    """
    if not by_engine or not row.model or not row.precision:
        return Standing(_at_most_host(session), _host())
    try:
        work = session.engines.loaded(row.model, row.precision).executed_on
    except (LabError, UserError):
        raise
    except HilError:  # there is no engine that could have run anywhere
        return Standing(_at_most_host(session), None)
    if session.evidence is not Evidence.DEVICE:
        return Standing(session.evidence, work or _cpu(session))
    confirmed = session.board is not None and session.board.did(work)
    return Standing(Evidence.DEVICE if confirmed else Evidence.HOST, work or _cpu(session))


def _at_most_host(session: EngineContext) -> Evidence:
    """A fallback's evidence stays what it is; a board or its stand-in gives nothing to what never ran there."""
    return session.evidence if session.evidence is Evidence.CPU_FALLBACK else Evidence.HOST


def _cpu(session: EngineContext) -> ExecutedOn:
    return ExecutedOn(kind="cpu", name=str(session.facts.get("cpu_model") or "unknown"))


@cache
def _host() -> ExecutedOn:
    return ExecutedOn(kind="cpu", name=str(probe.machine().get("cpu_model") or "unknown"))
