"""Check the placement of the loaded engine's layers: in which precision and on which processor they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hil.checks import placement
from hil.errors import Unsupported
from hil.session.gather.gathered import Gathered

if TYPE_CHECKING:
    from hil.results import Row
    from hil.session.engine_context import EngineContext

METHOD = {"version": 1, "told": "by the runtime's inspector"}


def int8_layers(session: EngineContext, row: Row) -> Gathered:
    """Judge ``placement.int8_layers``: which of the loaded engine's layers run in INT8."""
    from hil.quantize import weighted_nodes

    layers = layers_of(session, row)
    made = session.engines.provisioned(row.model, row.precision)
    return Gathered(placement.int8_layers(layers, row.limit, weighted_nodes(made.source)), METHOD)


def dla_fallback(session: EngineContext, row: Row) -> Gathered:
    """Judge ``placement.dla_fallback``: which layers of an engine for a DLA core run on the GPU instead.

    Raises ``Unsupported`` for an engine that was not built for a DLA core.
    """
    facts = session.engines.provisioned(row.model, row.precision).engine.facts
    if (facts.get("options") or {}).get("dla") is None:
        raise Unsupported(
            f"the engine was not built for a DLA core: model {row.model} in {row.precision} on target "
            f"{session.used}: write dla = 0 under [models.{row.model}.build], or remove limits.dla_fallback"
        )
    return Gathered(placement.dla_fallback(layers_of(session, row), row.limit), METHOD)


def layers_of(session: EngineContext, row: Row) -> list[dict[str, Any]]:
    """Return the loaded engine's layers. Raises ``Unsupported`` for a runtime that does not report layers."""
    return session.memo.once(("layers", row.model, row.precision), lambda: _layers(session, row))


def _layers(session: EngineContext, row: Row) -> list[dict[str, Any]]:
    with session.engines.lease(row.model, row.precision) as worker:
        layers: list[dict[str, Any]] | None = worker.layers()
    if layers is None:
        raise Unsupported(
            f"{session.spec.runtime} does not report an engine's layers: model {row.model} on target "
            f"{session.used}: TensorRT's inspector does"
        )
    return layers
