"""Placement: what each layer of an engine became, as the runtime's inspector tells it, and where it runs."""

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
"""``name``, ``type``, ``precision``, ``inputs`` and ``outputs`` (dtypes), ``device``, ``onnx`` (node names if told)."""

WEIGHTED = re.compile(r"conv|gemm|matmul|matrix_?multiply|fullyconnected|fully_connected", re.IGNORECASE)
"""Convolutions, deconvolutions and matrix products by the inspector's type: CaskConvolution, ConvActPool,
CaskDeconvolutionV2, CaskGemmConvolution, MatrixMultiply, FullyConnected, gemm (examples of NVIDIA's
trt-engine-explorer; convert is the one word that only looks like one)."""

NOT_WEIGHTED = re.compile(r"convert|conversion", re.IGNORECASE)
MYELIN = re.compile(r"_gemm_|^__my.*(?:Conv|Fc|Gemm|MatMul|Bmm|Dot)")
"""Names that Myelin gives to the kernels it shows: ``__myl_FcAdd_myl0_3``, ``_gemm_mha_v2_myl0_7``."""

BLOB = re.compile(r"ForeignNode|^Myelin|^DLA", re.IGNORECASE)
"""Layers whose inside the inspector does not show: Myelin's graphs and a DLA's loadables."""

MOVES = re.compile(r"reformat|noop|copynode|(?:to|from) nvm|copy finish|^signal|^wait|barrier", re.IGNORECASE)
"""Types of TensorRT's own movement of data, between devices and formats: no layer of the model."""

MOVING = re.compile(
    r"^reformatting copynode|^(?:input|output) reformatter|(?:to|from) nvm$|copy finish$", re.IGNORECASE
)
"""Names that TensorRT gives to such layers: a model's own nodes may be called ``barrier`` or ``signal``."""

SEPARATORS = re.compile(r"\s*(?:\+|\|\||[\[\]{},()])\s*|\.\.\.")
LISTED = 200


@dataclass(frozen=True)
class Seen:
    """The layers that INT8 is for: ``inside`` run in it, ``outside`` do not, ``blobs`` show nothing of themselves.

    ``hidden`` is how many weighted nodes of the model are in none of the visible layers; ``None`` where that
    is not known. Without blobs each visible layer stands for one node at least, whatever its name.
    """

    inside: tuple[str, ...]
    outside: tuple[str, ...]
    blobs: tuple[str, ...]
    hidden: int | None


def seen(layers: Sequence[Layer], nodes: Sequence[str] = ()) -> Seen:
    """Sorts the layers; ``nodes`` are the names of the model's weighted nodes."""
    inside: list[str] = []
    outside: list[str] = []
    blobs: list[str] = []
    named: set[str] = set()
    for layer in layers:
        name = str(layer.get("name", ""))
        if _is_blob(layer):
            blobs.append(name)
        elif is_weighted(layer):
            (inside if layer["inputs"][0] == "int8" else outside).append(name)
            named |= _names(layer)
    hidden = sum(node not in named for node in nodes) if nodes or not blobs else None
    if hidden and not blobs:
        hidden = max(0, min(hidden, len(nodes) - len(inside) - len(outside)))
    return Seen(tuple(inside), tuple(outside), tuple(blobs), hidden)


def any_int8(layers: Sequence[Layer]) -> bool | None:
    """Whether anything computes in INT8 at all; ``None`` where layers are hidden and none of the others does."""
    if any("int8" in (*(layer.get("inputs") or ()), *(layer.get("outputs") or ())) for layer in layers):
        return True
    return None if not layers or any(_is_blob(layer) for layer in layers) else False


def is_weighted(layer: Layer) -> bool:
    """A convolution, deconvolution or matrix product, by the inspector's type, or by Myelin's name for it."""
    kind, name = str(layer.get("type") or ""), str(layer.get("name") or "")
    if NOT_WEIGHTED.search(kind) or MOVES.search(kind):
        return False
    return bool(WEIGHTED.search(kind) or MYELIN.search(name))


def _is_blob(layer: Layer) -> bool:
    """Also a weighted layer of which no dtype is told: nothing says what it computes in."""
    kind, name = str(layer.get("type") or ""), str(layer.get("name") or "")
    if is_weighted(layer):
        return not layer.get("inputs") or not layer["inputs"][0]
    hidden = BLOB.search(kind) or BLOB.search(name) or layer.get("device") == "dla" or not kind
    return bool(hidden) and not MOVING.search(name)


def _names(layer: Layer) -> set[str]:
    """The ONNX nodes that a layer was made of; its own name joins theirs with ``+``."""
    told = layer.get("onnx") or ()
    return {str(one) for one in told} | {part for part in SEPARATORS.split(str(layer.get("name", ""))) if part}


def int8_layers(layers: Sequence[Layer], limit: Limit | None, nodes: Sequence[str] = ()) -> Judgement:
    """``placement.int8_layers``: the share of convolutions and matrix products whose input is INT8.

    Layers that the inspector does not look into make it an interval: all of what they hide may be INT8, or
    none. ``nodes`` are the names of the model's weighted nodes, by which what is hidden is counted.
    """
    found = seen(layers, nodes)
    details = {**_details(layers), "int8": found.inside[:LISTED], "not_int8": found.outside[:LISTED]}
    details |= {"not_visible": found.blobs[:LISTED], "nodes_not_visible": found.hidden}
    good, visible = len(found.inside), len(found.inside) + len(found.outside)
    if not visible and not found.blobs and not found.hidden:
        return inconclusive("the engine has no convolution and no matrix product: nothing for INT8", limit, details)
    if found.hidden is None:
        low, high, most = 0.0, 1.0, visible
    else:
        most = visible + found.hidden
        low, high = (good / most, (good + found.hidden) / most) if most else (0.0, 1.0)
    value = good / visible if visible else 0.0
    measurement = Measurement(value=min(max(value, low), high), unit="1", low=low, high=high, confidence=1.0, n=most)
    if low == high:
        return _told(hold(measurement, limit, details), found)
    example = f", e.g. {found.blobs[0][:80]!r}" if found.blobs else ""
    advice = f"{len(found.blobs)} layers are not visible{example}: the inspector does not say what is in them"
    return _told(hold_interval(measurement, limit, advice, details), found)


def _told(judgement: Judgement, found: Seen) -> Judgement:
    visible = len(found.inside) + len(found.outside)
    reason = f"{judgement.reason}; {len(found.inside)} of {visible} layers that INT8 is for run in it"
    if found.outside:
        reason += f", not {', '.join(name[:60] for name in found.outside[:3])}"
    return judgement.model_copy(update={"reason": reason})


def dla_fallback(layers: Sequence[Layer], limit: Limit | None) -> Judgement:
    """``placement.dla_fallback``: layers that run on the GPU of an engine that was built for a DLA core.

    Movement of data between the two is no layer of the model and is counted apart. An engine without any
    layer on the DLA fails whatever the limit.
    """
    details = _details(layers)
    moves = [layer for layer in layers if _is_move(layer)]
    work = [layer for layer in layers if not _is_move(layer)]
    on_dla = [layer for layer in work if layer.get("device") == "dla"]
    elsewhere = [str(layer.get("name", "")) for layer in work if layer.get("device") != "dla"]
    details |= {"on_gpu": elsewhere[:LISTED], "moves": len(moves)}
    if not work:
        return inconclusive("the inspector lists no layer: nothing says where the engine runs", limit, details)
    if not on_dla:
        return failed(f"no layer runs on the DLA: all {len(elsewhere)} fell back to the GPU", details)
    count = len(elsewhere)
    blobs = [str(layer.get("name", "")) for layer in work if layer.get("device") != "dla" and _is_blob(layer)]
    high = None if blobs else count  # a graph of Myelin's may hold any number of the model's layers
    measurement = Measurement(value=count, unit="layers", low=count, high=high, confidence=1.0, n=len(work))
    advice = f"the inspector does not say how many layers are in {blobs[0][:80]!r}" if blobs else ""
    judgement = hold_interval(measurement, limit, advice, details)
    if not elsewhere:
        return judgement
    names = ", ".join(name[:60] for name in elsewhere[:3])
    return judgement.model_copy(update={"reason": f"{judgement.reason}; on the GPU: {names}"})


def _is_move(layer: Layer) -> bool:
    if is_weighted(layer):
        return False
    return bool(MOVES.search(str(layer.get("type") or "")) or MOVING.search(str(layer.get("name") or "")))


def _details(layers: Sequence[Layer]) -> dict[str, Any]:
    """Precision and device of each layer, the first 200 of them, and of all by number."""
    listed = [{key: layer.get(key) for key in ("name", "type", "precision", "device")} for layer in layers[:LISTED]]
    return {
        "layers": listed,
        "count": len(layers),
        "precisions": _counts(layers, "precision"),
        "devices": _counts(layers, "device"),
    }


def _counts(layers: Sequence[Mapping[str, Any]], key: str) -> dict[str, int]:
    return dict(sorted(Counter(str(layer.get(key) or "not told") for layer in layers).items()))
