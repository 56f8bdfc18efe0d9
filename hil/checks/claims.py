"""Judge what an ONNX file declares against the precision that is claimed for it: types, blocks, scales and shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from hil.checks.verdicts import failed, judged
from hil.onnx_files.precisions import STORED
from hil.results import Judgement, Measurement, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hil.onnx_files.precisions import Precisions, QuantizedTensor, WeightedNode

LEAST = 0.1
"""The least share, of the nodes and of their multiply-adds, that a file has to declare in the claimed precision."""

FLOATING = ("float32", "float16", "bfloat16")


class Scheme(NamedTuple):
    """A way of quantizing that TensorRT supports.

    Attributes:
        dtype: the type of the quantized values.
        blocks: the allowed numbers of values that share a scale; 0 stands for a scale per tensor or channel.
        scales: the allowed types of the scales.
        nested: the allowed types of the scales by which the scales themselves are quantized; empty text for none.
    """

    dtype: str
    blocks: tuple[int, ...]
    scales: tuple[str, ...]
    nested: tuple[str, ...] = ("",)

    def __str__(self) -> str:
        """Return the scheme as text: ``float4_e2m1fn in blocks of 16 with float8_e4m3fn scales``."""
        sizes = " or ".join(str(one) for one in self.blocks if one)
        return f"{self.dtype}{f' in blocks of {sizes}' if sizes else ''} with {' or '.join(self.scales)} scales"


SCHEMES: dict[str, tuple[Scheme, ...]] = {
    "int8": (Scheme("int8", (0,), FLOATING),),
    "fp8": (
        Scheme("float8_e4m3fn", (0,), FLOATING),
        Scheme("float8_e4m3fn", (32,), ("float8_e8m0fnu",)),  # MXFP8
    ),
    "fp4": (Scheme("float4_e2m1fn", (16,), ("float8_e4m3fn",), FLOATING),),  # NVFP4
    "int4": (Scheme("int4", (64, 128), FLOATING),),
}
"""From TensorRT's documentation, "Quantization Schemes" (10.x to 11.3), which lists block sizes and scales' types."""


def claim(declared: Precisions, precision: str, *, symmetric: bool = True) -> Judgement:
    """Judge ``placement.declared``: whether a file is quantized as ``precision`` claims.

    ``symmetric`` is whether the runtime supports only TensorRT's schemes, without zero points. The verdict is about the
    file: it does not show what an engine executes.
    """
    wrong = list(faults(declared, precision, symmetric=symmetric))
    shares = {key or "unknown": share for key, share in sorted(declared.shares().items())}
    own = _own(declared, precision)
    details: dict[str, Any] = {
        "declared": shares,
        "counted_by": "multiply-adds" if declared.counted else "nodes",
        "nodes": len(declared.nodes),
        "tensors": len(declared.tensors),
        "not_in_it": [node.name or node.op for node in declared.nodes if node.precision != precision][:200],
        "wrong": wrong,
    }
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        return failed(f"{wrong[0]}{more}", details)
    by = "multiply-adds" if declared.counted else "convolutions and matrix products"
    share = declared.shares().get(precision, 0.0)
    reason = f"declared: {len(own)} of {len(declared.nodes)} convolutions and matrix products, {share:.1%} of the {by}"
    measurement = Measurement(value=share, unit="1", n=len(declared.nodes))
    return judged(Verdict.PASSED, f"{reason}, are in {precision}", measurement, details=details)


def faults(declared: Precisions, precision: str, *, symmetric: bool = True) -> Iterator[str]:
    """Yield what contradicts the claim that the file computes in ``precision``, the most important first."""
    yield from _shares(declared, precision)
    if precision not in SCHEMES:
        return
    used = {one.name: one for node in declared.nodes for one in (node.first, node.second) if one is not None}
    tensors = [one for one in used.values() if STORED.get(one.dtype, "") == precision]
    if symmetric:
        yield from _schemes(tensors, precision)
        shifted = [one.name for one in tensors if one.shifted]
        if shifted:
            yield f"zero points of {_some(shifted)} are not 0: TensorRT takes only symmetric ranges"


def _own(declared: Precisions, precision: str) -> list[WeightedNode]:
    return [node for node in declared.nodes if node.precision == precision]


def _shares(declared: Precisions, precision: str) -> Iterator[str]:
    nodes, own = declared.nodes, _own(declared, precision)
    shares = declared.shares()
    others = sorted(((share, key) for key, share in shares.items() if key != precision), reverse=True)
    listed = ", ".join(f"{share:.1%} {key or 'of unknown type'}" for share, key in others)
    if not nodes:
        yield "the file has no convolution and no matrix product"
    elif not own:
        yield f"no convolution and no matrix product is declared {precision}: they are {listed}"
    elif len(own) < LEAST * len(nodes) or shares[precision] < LEAST:
        by = "multiply-adds" if declared.counted else "nodes"
        what = f"only {len(own)} of {len(nodes)} convolutions and matrix products, {shares[precision]:.1%} of the {by}"
        yield f"{what}, are declared {precision}: the rest are {listed}"
    elif precision in SCHEMES:
        rival = max(((shares.get(one, 0.0), one) for one in SCHEMES if one != precision), default=(0.0, ""))
        if rival[0] > shares[precision]:
            by = "multiply-adds" if declared.counted else "nodes"
            yield f"{rival[0]:.1%} of the {by} are declared {rival[1]}, but only {shares[precision]:.1%} {precision}"


def _schemes(tensors: Sequence[QuantizedTensor], precision: str) -> Iterator[str]:
    allowed = SCHEMES[precision]
    for what, names in _mismatches(tensors, allowed).items():
        yield f"{_some(names)}: {what}; TensorRT takes {', or '.join(map(str, allowed))}"


def _mismatches(tensors: Sequence[QuantizedTensor], allowed: Sequence[Scheme]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in tensors:
        if not any(_fits(one, scheme) for scheme in allowed):
            blocks = f" in blocks of {one.block}" if one.block else ""
            nested = f", themselves scaled by {one.nested}" if one.nested else ""
            found.setdefault(f"{one.dtype}{blocks} with {one.scale or 'unknown'} scales{nested}", []).append(one.name)
    return found


def _fits(one: QuantizedTensor, scheme: Scheme) -> bool:
    return (
        one.dtype == scheme.dtype
        and one.block in scheme.blocks
        and one.scale in scheme.scales
        and one.nested in scheme.nested
    )


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(name[:60] for name in names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
