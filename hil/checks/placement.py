"""Placement: the precision and the device of each layer of an engine, as the runtime's inspector reports them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hil.checks.verdicts import failed, hold, hold_interval, inconclusive
from hil.results import Judgement, Limit, Measurement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Layer = dict[str, Any]
"""``name``, ``type``, ``precision``, ``inputs`` and ``outputs`` (dtypes), ``device``, ``onnx`` (node names)."""

WEIGHTED = re.compile(r"conv|gemm|matmul|matrix_?multiply|fullyconnected|fully_connected", re.IGNORECASE)
"""Convolutions, deconvolutions and matrix products by the inspector's type: CaskConvolution, ConvActPool,
CaskDeconvolutionV2, CaskGemmConvolution, MatrixMultiply, FullyConnected, gemm (from the examples of NVIDIA's
trt-engine-explorer). ``convert`` matches too, but ``NOT_WEIGHTED`` excludes it."""

NOT_WEIGHTED = re.compile(r"convert|conversion", re.IGNORECASE)
MYELIN = re.compile(r"_gemm_|^__my.*(?:Conv|Fc|Gemm|MatMul|Bmm|Dot)")
"""Names of the Myelin kernels that the inspector lists: ``__myl_FcAdd_myl0_3``, ``_gemm_mha_v2_myl0_7``."""

BLOB = re.compile(r"ForeignNode|^Myelin|^DLA", re.IGNORECASE)
"""Layers whose content the inspector does not show: Myelin graphs and DLA loadables."""

MOVES = re.compile(r"reformat|noop|copynode|(?:to|from) nvm|copy finish|^signal|^wait|barrier", re.IGNORECASE)
"""Types of layers by which TensorRT moves data between devices and formats; they are not layers of the model."""

MOVING = re.compile(
    r"^reformatting copynode|^(?:input|output) reformatter|(?:to|from) nvm$|copy finish$", re.IGNORECASE
)
"""Names of layers that move data, matched more strictly: a model's own nodes may be named ``barrier`` or ``signal``."""

SEPARATORS = re.compile(r"\s*(?:\+|\|\||[\[\]{},()])\s*|\.\.\.")
LISTED = 200


@dataclass(frozen=True)
class WeightedLayers:
    """The convolutions and matrix products of an engine, by whether they run in INT8.

    Attributes:
        inside: names of the layers that run in INT8.
        outside: names of the layers that do not.
        blobs: names of layers whose content the inspector does not show.
        hidden: how many of the model's convolutions and matrix products are in no visible layer; ``None`` if not known.
    """

    inside: tuple[str, ...]
    outside: tuple[str, ...]
    blobs: tuple[str, ...]
    hidden: int | None


def weighted_layers(layers: Sequence[Layer], nodes: Sequence[str] = ()) -> WeightedLayers:
    """Return the convolutions and matrix products among the engine's ``layers``.

    ``nodes`` are the names of the model's convolutions and matrix products; empty if they are not known.
    """
    inside: list[str] = []
    outside: list[str] = []
    blobs: list[str] = []
    named: set[str] = set()
    for layer in layers:
        name = str(layer.get("name", ""))
        if is_blob(layer):
            blobs.append(name)
        elif is_weighted(layer):
            (inside if layer["inputs"][0] == "int8" else outside).append(name)
            named |= names_of(layer)
    hidden = sum(node not in named for node in nodes) if nodes or not blobs else None
    if hidden and not blobs:
        hidden = max(0, min(hidden, len(nodes) - len(inside) - len(outside)))
    return WeightedLayers(tuple(inside), tuple(outside), tuple(blobs), hidden)


def any_of(layers: Sequence[Layer], precision: str) -> bool | None:
    """Return whether any layer has an input or output of the quantized type ``precision``.

    ``None`` if no visible layer has one and the content of some layers is hidden, or if there are no layers.
    """
    if any(precision in (*(layer.get("inputs") or ()), *(layer.get("outputs") or ())) for layer in layers):
        return True
    return None if not layers or any(is_blob(layer) for layer in layers) else False


def is_weighted(layer: Layer) -> bool:
    """Return whether ``layer`` is a convolution, deconvolution or matrix product, by its type or its Myelin name."""
    kind, name = str(layer.get("type") or ""), str(layer.get("name") or "")
    if NOT_WEIGHTED.search(kind) or MOVES.search(kind):
        return False
    return bool(WEIGHTED.search(kind) or MYELIN.search(name))


def is_blob(layer: Layer) -> bool:
    """Return whether the content of ``layer`` is hidden."""
    kind, name = str(layer.get("type") or ""), str(layer.get("name") or "")
    if is_weighted(layer):
        return not layer.get("inputs") or not layer["inputs"][0]
    hidden = BLOB.search(kind) or BLOB.search(name) or layer.get("device") == "dla" or not kind
    return bool(hidden) and not MOVING.search(name)


def names_of(layer: Layer) -> set[str]:
    """Return the names of a layer's ONNX nodes: those listed, and those that are joined in the layer's own name."""
    nodes = layer.get("onnx") or ()
    return {str(node) for node in nodes} | {part for part in SEPARATORS.split(str(layer.get("name", ""))) if part}


def int8_layers(layers: Sequence[Layer], limit: Limit | None, nodes: Sequence[str] = ()) -> Judgement:
    """Judge ``placement.int8_layers``: the share of convolutions and matrix products whose input is INT8.

    The share is an interval if the inspector hides some of them. ``nodes`` names all of the model's convolutions and
    matrix products.
    """
    weighted = weighted_layers(layers, nodes)
    details = {**_details(layers), "int8": weighted.inside[:LISTED], "not_int8": weighted.outside[:LISTED]}
    details |= {"not_visible": weighted.blobs[:LISTED], "nodes_not_visible": weighted.hidden}
    good, visible = len(weighted.inside), len(weighted.inside) + len(weighted.outside)
    if not visible and not weighted.blobs and not weighted.hidden:
        return inconclusive(
            "the engine has no convolution and no matrix product that could run in INT8", limit, details
        )
    if weighted.hidden is None:
        low, high, most = 0.0, 1.0, visible
    else:
        most = visible + weighted.hidden
        low, high = (good / most, (good + weighted.hidden) / most) if most else (0.0, 1.0)
    value = good / visible if visible else 0.0
    measurement = Measurement(value=min(max(value, low), high), unit="1", low=low, high=high, confidence=1.0, n=most)
    if low == high:
        return _with_counts(hold(measurement, limit, details), weighted)
    example = f", e.g. {weighted.blobs[0][:80]!r}" if weighted.blobs else ""
    advice = f"{len(weighted.blobs)} layers are not visible{example}: the inspector does not show their content"
    return _with_counts(hold_interval(measurement, limit, advice, details), weighted)


def _with_counts(judgement: Judgement, weighted: WeightedLayers) -> Judgement:
    visible = len(weighted.inside) + len(weighted.outside)
    reason = f"{judgement.reason}; {len(weighted.inside)} of {visible} convolutions and matrix products run in INT8"
    if weighted.outside:
        reason += f", not {', '.join(name[:60] for name in weighted.outside[:3])}"
    return judgement.model_copy(update={"reason": reason})


def dla_fallback(layers: Sequence[Layer], limit: Limit | None) -> Judgement:
    """Judge ``placement.dla_fallback``: how many layers of an engine that was built for a DLA core run on the GPU.

    An engine without any layer on the DLA fails, whatever the limit.
    """
    details = _details(layers)
    moves = [layer for layer in layers if is_move(layer)]
    work = [layer for layer in layers if not is_move(layer)]
    on_dla = [layer for layer in work if layer.get("device") == "dla"]
    elsewhere = [str(layer.get("name", "")) for layer in work if layer.get("device") != "dla"]
    details |= {"on_gpu": elsewhere[:LISTED], "moves": len(moves)}
    if not work:
        return inconclusive("the inspector lists no layer: where the engine runs is not known", limit, details)
    if not on_dla:
        return failed(f"no layer runs on the DLA: all {len(elsewhere)} fell back to the GPU", details)
    count = len(elsewhere)
    blobs = [str(layer.get("name", "")) for layer in work if layer.get("device") != "dla" and is_blob(layer)]
    high = None if blobs else count  # a Myelin graph may hold any number of the model's layers
    measurement = Measurement(value=count, unit="layers", low=count, high=high, confidence=1.0, n=len(work))
    advice = f"the inspector does not say how many layers are in {blobs[0][:80]!r}" if blobs else ""
    judgement = hold_interval(measurement, limit, advice, details)
    if not elsewhere:
        return judgement
    names = ", ".join(name[:60] for name in elsewhere[:3])
    return judgement.model_copy(update={"reason": f"{judgement.reason}; on the GPU: {names}"})


def is_move(layer: Layer) -> bool:
    """Return whether ``layer`` only moves data between devices and formats."""
    if is_weighted(layer):
        return False
    return bool(MOVES.search(str(layer.get("type") or "")) or MOVING.search(str(layer.get("name") or "")))


def _details(layers: Sequence[Layer]) -> dict[str, Any]:
    """Return the precision and device of the first 200 layers, and their counts over all layers."""
    listed = [{key: layer.get(key) for key in ("name", "type", "precision", "device")} for layer in layers[:LISTED]]
    return {
        "layers": listed,
        "count": len(layers),
        "precisions": _counts(layers, "precision"),
        "devices": _counts(layers, "device"),
    }


def _counts(layers: Sequence[Mapping[str, Any]], key: str) -> dict[str, int]:
    return dict(sorted(Counter(str(layer.get(key) or "not reported") for layer in layers).items()))
