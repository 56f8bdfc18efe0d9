"""What each layer of an engine executes, as reported by ``IEngineInspector``.

Its JSON is ``{"Layers": […], "Bindings": […]}``. A layer is an object, whose keys may be missing, or a string in an
engine without detailed verbosity.
"""

import json
import re
from typing import Any, Dict, List, Optional

from ...failure import ENGINE, Failure, short

DATATYPES = (
    ("bf16", r"bf16|bfloat16"),
    ("fp16", r"fp16|half"),
    ("fp8", r"fp8|e4m3|e5m2"),
    ("fp4", r"fp4|e2m1"),
    ("fp32", r"fp32|float"),
    ("uint8", r"uint8"),
    ("int8", r"int8"),
    ("int4", r"int4"),
    ("int64", r"int64"),
    ("int32", r"int32"),
    ("bool", r"bool"),
)
COMPUTED = ("int8", "fp8", "fp4", "int4", "fp16", "bf16", "fp32")
MOVES = ("reformat", "noop", "no-op", "signal", "wait", "reformatter")
TF32_KERNEL = re.compile(r"tf32", re.IGNORECASE)
INT8_KERNEL = re.compile(r"i8i8|int8x|imma|s8s8", re.IGNORECASE)
ONNX = re.compile(r"\[ONNX Layer: ([^\x1e\]]*)\]")
LATER_PROFILE = re.compile(r"\[profile [1-9]\d*\]$")
WEIGHTED = "Weights", "weights"


def layers(trt: Any, engine: Any, context: Any) -> List[Dict[str, Any]]:
    """Return the layers of ``engine``, with the shapes set in ``context``. Raise ``Failure`` if they cannot be read."""
    engine_inspector = engine.create_engine_inspector()
    engine_inspector.execution_context = context
    return parse(engine_inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def parse(text: str) -> List[Dict[str, Any]]:
    """Return ``name``, ``type``, ``precision``, ``inputs``, ``outputs``, ``device``, ``onnx`` of each layer, in order.

    ``precision`` is the type that a layer computes in; None if it is unknown or the layer only moves data. Layers of
    later optimization profiles are left out.
    """
    try:
        document = json.loads(text, strict=False)
    except ValueError:
        try:  # names are not escaped: a lone backslash in one is valid here
            document = json.loads(re.sub(r'\\(?!["\\/bfnrtu])', r"\\\\", text), strict=False)
        except ValueError as error:
            what = "TensorRT's inspector did not return JSON: %s" % short(error)
            raise Failure(ENGINE, what, "report this as a bug, with the report's log") from None
    entries = document.get("Layers", document.get("layers", ())) if isinstance(document, dict) else document
    parsed = [
        _layer(entry) for entry in (entries if isinstance(entries, list) else ()) if isinstance(entry, (str, dict))
    ]
    return [entry for entry in parsed if not LATER_PROFILE.search(entry["name"])]


def datatype(text: object) -> Optional[str]:
    """Return the type named in ``text``: ``Thirty-two wide channel vectorized row major Int8 format`` is int8.

    Return None if ``text`` names no type.
    """
    for name, pattern in DATATYPES:
        if re.search(pattern, str(text), re.IGNORECASE):
            return name
    return None


def _layer(entry: Any) -> Dict[str, Any]:
    if isinstance(entry, str):
        entry = {"Name": entry.strip()}
    name, kind = str(entry.get("Name", "")), str(entry.get("LayerType", ""))
    inputs, outputs = _tensors(entry.get("Inputs")), _tensors(entry.get("Outputs"))
    return {
        "name": name,
        "type": kind or str(entry.get("ParameterType", "")),
        "precision": None if kind.lower() in MOVES else _by_kernel(_precision(entry, inputs, outputs), entry),
        "inputs": inputs,
        "outputs": outputs,
        "device": "dla" if "dla" in kind.lower() else "gpu",
        "onnx": ONNX.findall(str(entry.get("Metadata", ""))),
    }


def _tensors(entries: Any) -> List[Optional[str]]:
    types = []
    for entry in entries if isinstance(entries, list) else ():
        text = (
            " ".join(str(value) for key, value in entry.items() if "ype" in key or "ormat" in key)
            if isinstance(entry, dict)
            else entry
        )
        types.append(datatype(text))
    return types


def _by_kernel(precision: Optional[str], entry: Dict[str, Any]) -> Optional[str]:
    """Return ``tf32`` for a layer of fp32 tensors whose kernel's name shows that it computes in TF32."""
    return "tf32" if precision == "fp32" and TF32_KERNEL.search(str(entry.get("TacticName", ""))) else precision


def _precision(entry: Dict[str, Any], inputs: List[Optional[str]], outputs: List[Optional[str]]) -> Optional[str]:
    weights = next((entry[key] for key in WEIGHTED if isinstance(entry.get(key), dict)), {})
    by_weights = datatype(weights.get("Type"))
    if by_weights in COMPUTED and weights.get("Count", 1):
        return by_weights
    if INT8_KERNEL.search(str(entry.get("TacticName", ""))):
        return "int8"
    return next((kind for kind in inputs + outputs if kind in COMPUTED), None)
