"""Derive the evidence of a row: which processor did its work, and whether it is the confirmed board's."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from hil.agent.machine import probe
from hil.errors import HilError, LabError, UserError
from hil.results import Evidence, ExecutedOn

if TYPE_CHECKING:
    from hil.results import Row
    from hil.session.engine_context import EngineContext


def evidence_of(session: EngineContext, row: Row, *, by_engine: bool) -> tuple[Evidence, ExecutedOn | None]:
    """Return the evidence of ``row``, and the processor that did its work (``None`` if its engine could not be built).

    ``by_engine`` is true if an engine did the work, false if the host did. The evidence is ``device`` only if the
    engine ran on the confirmed board.
    """
    if not by_engine or not row.model or not row.precision:
        return _at_most_host(session), _host()
    try:
        processor = session.engines.loaded(row.model, row.precision).executed_on
    except (LabError, UserError):
        raise
    except HilError:  # there is no engine, so nothing ran
        return _at_most_host(session), None
    processor_or_cpu = processor or _cpu(session)
    if session.evidence is not Evidence.DEVICE:
        return session.evidence, processor_or_cpu
    confirmed = session.board is not None and session.board.ran(processor)
    return (Evidence.DEVICE if confirmed else Evidence.HOST), processor_or_cpu


def _at_most_host(session: EngineContext) -> Evidence:
    """Return the evidence of work on the host: ``CPU_FALLBACK`` in a fallback, else ``HOST``."""
    return session.evidence if session.evidence is Evidence.CPU_FALLBACK else Evidence.HOST


def _cpu(session: EngineContext) -> ExecutedOn:
    return ExecutedOn(kind="cpu", name=str(session.facts.get("cpu_model") or "unknown"))


@cache
def _host() -> ExecutedOn:
    return ExecutedOn(kind="cpu", name=str(probe.machine().get("cpu_model") or "unknown"))
