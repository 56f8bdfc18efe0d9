"""What each layer of an engine became, as ``IEngineInspector`` tells it.

Its JSON is ``{"Layers": […], "Bindings": […]}``. Built with detailed profiling verbosity a layer is an object
(``Name``, ``LayerType``, ``Inputs`` and ``Outputs`` with ``Format/Datatype``, ``Weights``, ``TacticName``, since
8.6 ``Metadata`` with the ONNX nodes), otherwise a string. Keys differ between versions, so none is relied on.
"""

import json
import re
from typing import Any, Dict, List, Optional

from ...failure import ENGINE, Failure, short

DATATYPES = (
    ("bf16", r"bf16|bfloat16"),
    ("fp16", r"fp16|half"),
    ("fp8", r"fp8"),
    ("fp4", r"fp4"),
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
INT8_KERNEL = re.compile(r"i8i8|int8x|imma|s8s8", re.IGNORECASE)
ONNX = re.compile(r"\[ONNX Layer: ([^\x1e\]]*)\]")
LATER_PROFILE = re.compile(r"\[profile [1-9]\d*\]$")
WEIGHTED = "Weights", "weights"


def layers(trt: Any, engine: Any, context: Any) -> List[Dict[str, Any]]:
    """The layers of ``engine``, with the shapes as ``context`` has them. Raises ``Failure`` for what cannot be read."""
    told = engine.create_engine_inspector()
    told.execution_context = context
    return parse(told.get_engine_information(trt.LayerInformationFormat.JSON))


def parse(text: str) -> List[Dict[str, Any]]:
    """``name``, ``type``, ``precision``, ``inputs``, ``outputs``, ``device``, ``onnx`` of each layer, in order.

    ``precision`` is what a layer computes in: its weights' type, else what its kernel's name says, else its
    inputs'; None for layers that only move data and where nothing is told. Layers of later optimization
    profiles are left out, since none of them ever runs.
    """
    try:
        found = json.loads(text, strict=False)
    except ValueError:
        try:  # names are written as they are: a lone backslash is no escape
            found = json.loads(re.sub(r'\\(?!["\\/bfnrtu])', r"\\\\", text), strict=False)
        except ValueError as error:
            what = "TensorRT's inspector answers in no JSON: %s" % short(error)
            raise Failure(ENGINE, what, "report this with the report's log") from None
    listed = found.get("Layers", found.get("layers", ())) if isinstance(found, dict) else found
    made = [_layer(one) for one in listed or () if isinstance(one, (str, dict))]
    return [one for one in made if not LATER_PROFILE.search(one["name"])]


def datatype(text: object) -> Optional[str]:
    """``Thirty-two wide channel vectorized row major Int8 format`` is int8; None where none is named."""
    for name, pattern in DATATYPES:
        if re.search(pattern, str(text), re.IGNORECASE):
            return name
    return None


def _layer(told: Any) -> Dict[str, Any]:
    if isinstance(told, str):
        told = {"Name": told.strip()}
    name, kind = str(told.get("Name", "")), str(told.get("LayerType", ""))
    inputs, outputs = _tensors(told.get("Inputs")), _tensors(told.get("Outputs"))
    return {
        "name": name,
        "type": kind or str(told.get("ParameterType", "")),
        "precision": None if kind.lower() in MOVES else _precision(told, inputs, outputs),
        "inputs": inputs,
        "outputs": outputs,
        "device": "dla" if "dla" in kind.lower() else "gpu",
        "onnx": ONNX.findall(str(told.get("Metadata", ""))),
    }


def _tensors(listed: Any) -> List[Optional[str]]:
    found = []
    for one in listed if isinstance(listed, list) else ():
        text = (
            " ".join(str(value) for key, value in one.items() if "ype" in key or "ormat" in key)
            if isinstance(one, dict)
            else one
        )
        found.append(datatype(text))
    return found


def _precision(told: Dict[str, Any], inputs: List[Optional[str]], outputs: List[Optional[str]]) -> Optional[str]:
    weights = next((told[key] for key in WEIGHTED if isinstance(told.get(key), dict)), {})
    by_weights = datatype(weights.get("Type"))
    if by_weights in COMPUTED and weights.get("Count", 1):
        return by_weights
    if INT8_KERNEL.search(str(told.get("TacticName", ""))):
        return "int8"
    return next((one for one in inputs + outputs if one in COMPUTED), None)
