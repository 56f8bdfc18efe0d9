"""Which builder flags a precision sets, and when it is not available."""

from typing import Any, Callable, Collection, NamedTuple, Optional, Tuple

from ...failure import BUILD, UNSUPPORTED, Failure

KNOWN = ("fp32", "tf32", "fp16", "bf16", "int8", "fp8", "fp4", "int4")
FLAG = {"tf32": "TF32", "fp16": "FP16", "bf16": "BF16", "int8": "INT8"}
TENSOR = {"fp16": "HALF", "bf16": "BF16"}  # DataType's names
BROUGHT = {"fp8": "FP8", "fp4": "FP4", "int4": "INT4"}  # precisions that only Q/DQ nodes give: DataType's names
OTHER = ("FP4", "FP8", "INT4")  # types other than int8 to which a network can be quantized
MOVES = ("CAST", "CONSTANT", "IDENTITY")  # LayerType's names; such layers compute nothing in their type
# The oldest architecture of each precision, as hil/jetson/supported_precisions.py has it with the sources.
LEAST_SM = {"tf32": "8.0", "bf16": "8.0", "int4": "8.0", "fp8": "8.9", "fp4": "10.0"}
TYPED = "precisions are those of the model alone (a strongly typed network)"
WAYS = {
    "fp16": "convert the ONNX file first: python -m modelopt.onnx.autocast --onnx_path MODEL.onnx",
    "bf16": "convert the ONNX file first: python -m modelopt.onnx.autocast --low_precision_type bf16 --onnx_path …",
    "int8": 'pass an ONNX file with QuantizeLinear and DequantizeLinear nodes (calibration route = "explicit")',
    "fp8": "quantize the ONNX file first: python -m modelopt.onnx.quantization --quantize_mode=fp8 --onnx_path=…",
    "fp4": "export the model from ModelOpt's NVFP4 quantization of the PyTorch model",
    "int4": "quantize the ONNX file first: python -m modelopt.onnx.quantization --quantize_mode=int4 --onnx_path=…",
}


class Flags(NamedTuple):
    """Names of the members of ``BuilderFlag`` to set and to clear."""

    on: Tuple[str, ...]
    off: Tuple[str, ...]


class Content(NamedTuple):
    """What the parsed network contains: the numbers of Q and DQ layers, and the names of the types it computes in."""

    quantize: int
    dequantize: int
    types: Collection[str]


def strongly_typed(flags: Collection[str]) -> bool:
    """Return whether the builder has no flags for precisions, as in TensorRT 11."""
    return "FP16" not in flags and "INT8" not in flags


def reason(
    precision: str, flags: Collection[str], sm: Optional[str], types: Collection[str] = (), *, typed: bool = True
) -> Optional[str]:
    """Return why these flags and this architecture (``"8.7"``) exclude ``precision``; None if they may support it.

    ``flags`` are the names of the members of ``BuilderFlag``, ``types`` those of ``DataType``. ``sm`` is None if
    unknown. ``typed`` states that networks can be strongly typed.
    """
    if precision not in KNOWN:
        return "TensorRT has no precision %r" % precision
    least = LEAST_SM.get(precision)
    if least is not None and sm is not None and _number(sm) < _number(least):
        return "%s needs a GPU of architecture %s or newer, this one is %s" % (precision, least, sm)
    if precision in BROUGHT and not typed:
        return "%s needs strongly typed networks, which TensorRT has from 10.0 on" % precision
    if precision in BROUGHT and BROUGHT[precision] not in types:
        return "this TensorRT has no %s" % BROUGHT[precision]
    if precision in FLAG and FLAG[precision] not in flags and not strongly_typed(flags):
        return "this TensorRT has no %s" % precision
    return None


def _number(sm: str) -> Tuple[int, ...]:
    return tuple(int(part) for part in sm.split("."))


def flags_for(  # noqa: PLR0913 - a precision, and what decides about it
    precision: str,
    flags: Collection[str],
    sm: Optional[str],
    fast: Callable[[str], bool],
    content: Content,
    *,
    typed: bool = False,
) -> Flags:
    """Return the builder flags for ``precision``.

    Raise ``Failure`` if ``precision`` is not supported, or if the engine would compute in another precision.

    ``flags`` are the names of the members of ``BuilderFlag``. ``fast`` returns whether the GPU has fast fp16, int8 or
    tf32. ``typed`` states that the network is strongly typed. Precisions of ``BROUGHT`` are not checked here.
    """
    why = None if precision in BROUGHT else reason(precision, flags, sm)
    if why is None and precision in ("fp16", "int8", "tf32") and not fast(precision):
        why = "this GPU%s has no fast %s" % ("" if sm is None else " (architecture %s)" % sm, precision)
    if why is not None:
        raise Failure(UNSUPPORTED, why, "leave %s out of precisions for this target" % precision)
    tf32 = Flags(("TF32",), ()) if precision == "tf32" else Flags((), ("TF32",) if precision == "fp32" else ())
    if typed or strongly_typed(flags):
        _check_typed(precision, content)
        return tf32
    if precision == "int8":
        return Flags(("INT8", "FP16") if fast("fp16") else ("INT8",), ())
    return Flags((FLAG[precision],), ()) if precision in ("fp16", "bf16") else tf32


def _check_typed(precision: str, content: Content) -> None:
    if precision in TENSOR and TENSOR[precision] not in content.types:
        what = "%s, and the ONNX file computes nothing in %s" % (TYPED, precision)
        raise Failure(UNSUPPORTED, what, WAYS[precision])
    if precision == "int8" and not content.quantize:
        raise Failure(UNSUPPORTED, "%s, and the ONNX file has no Q/DQ nodes" % TYPED, WAYS["int8"])
    if precision in BROUGHT and BROUGHT[precision] not in content.types:
        what = "%s, and the ONNX file has nothing in %s" % (TYPED, precision)
        raise Failure(UNSUPPORTED, what, WAYS[precision])
    low = sorted((set(TENSOR.values()) | set(OTHER)) & set(content.types))
    quantized = content.quantize or content.dequantize
    if precision in ("fp32", "tf32") and (low or quantized):
        content_kind = "is quantized" if quantized else "computes in %s" % low[0]
        what = "%s, and the ONNX file %s" % (TYPED, content_kind)
        raise Failure(BUILD, what, "pass the float32 file for %s" % precision)


def check_route(
    precision: str,
    implicit: bool,  # noqa: FBT001 - one of two routes
    content: Content,
    *,
    typed: bool = False,
) -> None:
    """Raise ``Failure`` if an int8 engine would silently compute in other types, or a calibrator does not fit.

    ``implicit`` states that a calibrator is used, ``typed`` that the network is strongly typed.
    """
    other = sorted(set(OTHER) & set(content.types))
    if precision == "int8" and other:
        what = "the network is quantized to %s, so it would not run in int8 alone" % ", ".join(other)
        raise Failure(BUILD, what, "pass a file whose Q/DQ nodes are int8")
    qdq = content.quantize > 0 and content.dequantize > 0
    if precision == "int8" and not implicit and not qdq:
        what = "the network has no Q/DQ layers after parsing, so it would not run in int8"
        raise Failure(BUILD, what, 'quantize it first (route = "explicit") and build the quantized file')
    if implicit and content.quantize:
        what = "the model has Q/DQ nodes, so TensorRT would ignore the calibrator"
        raise Failure(BUILD, what, 'pass the float32 file for route = "implicit", or set route = "explicit"')
    if implicit and typed:
        what = "a strongly typed network takes ranges from Q/DQ nodes alone, so the calibrator would be ignored"
        raise Failure(UNSUPPORTED, what, WAYS["int8"])
    if implicit and precision != "int8":
        raise Failure(BUILD, "a calibrator is for int8, not for %s" % precision, "set precision to int8")


def content_of(trt: Any, network: Any) -> Content:
    """Return the numbers of Q and DQ layers of a parsed network, and the types that it computes in.

    The types of casts, constants and identities count only if they are in ``OTHER``.
    """
    kinds, types = {"q": 0, "d": 0}, set()
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        kinds["q"] += layer.type == trt.LayerType.QUANTIZE
        kinds["d"] += layer.type == trt.LayerType.DEQUANTIZE
        layer_types = {layer.get_output(at).dtype.name for at in range(layer.num_outputs) if layer.get_output(at)}
        types.update(layer_types.intersection(OTHER) if layer.type.name in MOVES else layer_types)
    return Content(kinds["q"], kinds["d"], frozenset(types))
