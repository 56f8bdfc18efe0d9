"""Judge the share of an engine's multiply-adds that runs in the row's precision, by the inspector's layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hil.checks.placement import LISTED, Layer, is_blob, is_move, is_weighted, names_of
from hil.checks.verdicts import hold_interval, inconclusive
from hil.results import Judgement, Limit, Measurement, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hil.onnx_files.precisions import Precisions, WeightedNode

QUANTIZED = ("int8", "fp8", "fp4")
"""The precisions in which a layer computes only if its activations have that type, not its weights alone."""

DEFAULT = "default"
HIDDEN = (
    "the inspector does not show the content or the type of some layers, for example of a transformer that TensorRT "
    "compiles as one layer; an engine that was built elsewhere needs --profilingVerbosity=detailed; "
    "'in_precision = \"0 %\"' removes the limit"
)


@dataclass(frozen=True)
class Work:
    """One convolution or matrix product of the model, or of the engine if the model's are unknown.

    Attributes:
        name: its name.
        size: its multiply-adds, or 1 if they are not counted.
        layer: the name of the engine's layer that executes it; empty if it is hidden.
        runs_in: the precision of that layer; ``None`` if it is hidden.
    """

    name: str
    size: float
    layer: str = ""
    runs_in: str | None = None


def in_precision(
    layers: Sequence[Layer],
    model: Precisions,
    precision: str,
    limit: Limit | None,
    seconds: Mapping[str, float] | None = None,
) -> Judgement:
    """Judge ``placement.in_precision`` by the loaded engine's ``layers``.

    The share is of the multiply-adds or, if shapes are unknown, of the convolutions and matrix products; without these,
    of all computing layers. If the inspector hides layers, the share is an interval. ``seconds`` has the known times of
    layers by name: the slowest layers in another precision are named first. Under a limit whose ``fail_at`` is 0, the
    verdict is warned instead of inconclusive.
    """
    work, basis = _work(layers, model, precision)
    details = _details(work, basis, precision, model)
    if not work:
        what = f"the inspector lists no layer that computes in {precision} or another precision"
        return _softened(inconclusive(what, None, details), limit)
    total = sum(one.size for one in work) or 1.0
    inside = sum(one.size for one in work if one.runs_in == precision)
    hidden = sum(one.size for one in work if one.runs_in is None)
    low, high = inside / total, min(1.0, (inside + hidden) / total)
    value = inside / (total - hidden) if total > hidden else 0.0
    fell = _fell_back(work, precision, seconds or {})
    details["fell_back"] = fell[:LISTED]
    measurement = Measurement(
        value=min(max(value, low), high), unit="1", low=low, high=high, confidence=1.0, n=len(work)
    )
    judgement = _softened(hold_interval(measurement, limit, HIDDEN, details), limit)
    ran = sum(one.runs_in == precision for one in work)
    reason = f"{judgement.reason}; {ran} of {len(work)} {_things(basis)} run in {precision}, by {basis}"
    if fell:
        reason += f"; not {', '.join(str(one['layer'])[:60] + ' (' + str(one['runs_in']) + ')' for one in fell[:3])}"
    return judgement.model_copy(update={"reason": reason})


def _softened(judgement: Judgement, limit: Limit | None) -> Judgement:
    """Return ``judgement``; if it is inconclusive and the limit's ``fail_at`` is 0, make it warned."""
    if limit is None or limit.fail_at != 0 or judgement.verdict is not Verdict.INCONCLUSIVE:
        return judgement
    # A report may not state a limit for a measurement that neither meets nor misses it.
    return judgement.model_copy(update={"verdict": Verdict.WARNED})


def _things(basis: str) -> str:
    return "layers" if basis == "all layers" else "convolutions and matrix products"


def _work(layers: Sequence[Layer], model: Precisions, precision: str) -> tuple[list[Work], str]:
    """Return the convolutions and matrix products to be judged, and the unit in which they are counted."""
    visible = [layer for layer in layers if is_weighted(layer) and not is_blob(layer)]
    blobs = [layer for layer in layers if is_blob(layer)]
    if model.nodes:
        basis = "multiply-adds" if model.counted else "layers"
        return _of_nodes(visible, model.nodes, precision, blobs=bool(blobs), counted=model.counted), basis
    if visible or any(is_weighted(layer) for layer in blobs):
        shown = [Work(_name(one), 1.0, _name(one), runs_in(one, precision)) for one in visible]
        return [*shown, *(Work(_name(one), 1.0) for one in blobs)], "layers"
    rest = [layer for layer in layers if not is_move(layer) and (layer.get("precision") or is_blob(layer))]
    return [
        Work(_name(one), 1.0, _name(one), None if is_blob(one) else runs_in(one, precision)) for one in rest
    ], "all layers"


def _name(layer: Layer) -> str:
    return str(layer.get("name") or "")


def _of_nodes(
    visible: Sequence[Layer], nodes: Sequence[WeightedNode], precision: str, *, blobs: bool, counted: bool
) -> list[Work]:
    named: dict[str, list[Layer]] = {}
    for layer in visible:
        for name in names_of(layer):
            named.setdefault(name, []).append(layer)
    own = {node.name for node in nodes if node.name}
    nameless = [layer for layer in visible if not names_of(layer) & own]
    unmatched = sum(node.name not in named for node in nodes)
    # Without hidden layers, nodes that no layer names are in the layers that name no node.
    kinds = {runs_in(layer, precision) for layer in nameless}
    rest = kinds.pop() if len(kinds) == 1 and not blobs and len(nameless) >= unmatched else None
    work = []
    for node in nodes:
        size = float(node.multiply_adds or 0) if counted else 1.0
        found = named.get(node.name, []) if node.name else []
        types = {runs_in(layer, precision) for layer in found}
        one = types.pop() if len(types) == 1 else None
        work.append(Work(node.name, size, _name(found[0]) if found else "", one if found else rest))
    return work


def runs_in(layer: Layer, precision: str) -> str | None:
    """Return the precision in which a visible layer computes, ``None`` if it is unknown.

    ``precision`` is the row's. A layer computes in a quantized type if its activations have that type, and in int4 if
    any of its inputs is int4.
    """
    inputs = list(layer.get("inputs") or ())
    computed = layer.get("precision")
    known = None if computed is None else str(computed)
    if precision == "int4":  # of weights alone
        return "int4" if "int4" in (*inputs, known) else known
    if precision not in QUANTIZED:
        return known
    if not inputs or inputs[0] is None:
        return None
    if inputs[0] == precision:
        return precision
    if precision in inputs:
        return None
    return known if known != precision else str(inputs[0])


def _fell_back(work: Iterable[Work], precision: str, seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the layers that run in another precision, the slowest first, then those with the most multiply-adds."""
    outside = [one for one in work if one.runs_in not in {precision, None}]
    outside.sort(key=lambda one: (-seconds.get(one.layer, -1.0), -one.size))
    return [
        {
            "layer": one.layer or one.name or "a layer without a name",
            "runs_in": one.runs_in,
            "seconds": seconds.get(one.layer),
        }
        for one in outside
    ]


def _details(work: Sequence[Work], basis: str, precision: str, model: Precisions) -> dict[str, Any]:
    kinds: dict[str, float] = {}
    for one in work:
        kinds[one.runs_in or "not visible"] = kinds.get(one.runs_in or "not visible", 0.0) + one.size
    hidden = [one.name for one in work if one.runs_in is None]
    declared = model.shares() if model.nodes else {}
    return {
        "asked": precision,
        "counted_by": basis,
        "runs_in": kinds,
        "not_visible": hidden[:LISTED],
        # What the file says; it decides nothing here.
        "declared": {key or "unknown": share for key, share in sorted(declared.items())},
    }
