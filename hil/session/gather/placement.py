"""Check the placement of the loaded engine's layers: in which precision and on which processor they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hil.checks import claims, in_precision, placement
from hil.errors import Unsupported
from hil.onnx_files.quantized_graph import read_precisions
from hil.results import Verdict
from hil.runtimes import runtime_record
from hil.session.gather.gathered import Gathered
from hil.session.gather.timing import slowest_nodes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hil.onnx_files.precisions import Precisions
    from hil.results import Limit, Row
    from hil.session.engine_context import EngineContext

METHOD = {"version": 1, "told": "by the runtime's inspector"}
DECLARED = {"version": 1, "told": "by the ONNX file"}


def declared(session: EngineContext, row: Row) -> Gathered:
    """Judge ``placement.declared``: whether the ONNX file ``deployed`` is quantized as the row's precision claims.

    Raises ``Unsupported`` if the config names no such file for the precision, or names a built engine.
    """
    spec = session.model(row.model)
    file = None if spec.engine is not None else spec.deployed_in(row.precision)
    if file is None:
        raise Unsupported(
            f"there is no quantized ONNX file to check: model {row.model} in {row.precision}: write deployed in "
            f"[models.{row.model}]"
        )
    path = session.addressed(session.config.resolve(file), row.model)
    symmetric = runtime_record(session.spec.runtime).qdq_layout == "tensorrt"
    return Gathered(claims.claim(_declared(session, row, path), row.precision, symmetric=symmetric), DECLARED)


def in_asked_precision(session: EngineContext, row: Row) -> Gathered:
    """Judge ``placement.in_precision``: which share of the loaded engine runs in the row's precision."""
    layers, made = layers_of(session, row), session.engines.provisioned(row.model, row.precision)
    model, limit = _declared(session, row, made.source), _strict(row.limit, made.engine.about)
    judgement = in_precision.in_precision(layers, model, row.precision, limit)
    if judgement.verdict is not Verdict.PASSED and judgement.details.get("fell_back"):
        seconds = {str(node["name"]): float(node["seconds"]) for node in slowest_nodes(session, row)}
        judgement = in_precision.in_precision(layers, model, row.precision, limit, seconds)
    return Gathered(judgement, METHOD)


def _strict(limit: Limit | None, about: Mapping[str, Any]) -> Limit | None:
    """Return ``limit``, without its warning band if it is the default limit and the network is strongly typed."""
    if limit is None or limit.source != in_precision.DEFAULT or not about.get("strongly_typed"):
        return limit
    return limit.model_copy(update={"fail_at": None})


def _declared(session: EngineContext, row: Row, path: Path) -> Precisions:
    spec, signature = session.model(row.model), session.signature(row.model)
    sizes = {name: optimum for name, (_, optimum, _) in {**signature.sizes, **spec.shapes}.items()}
    key = ("declared precisions", row.model, str(path))
    return session.memo.once(key, lambda: read_precisions(path, sizes, spec.batch))


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
            f"{session.used}: use a target with TensorRT, whose inspector reports them"
        )
    return layers
