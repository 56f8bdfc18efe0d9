"""ONNX Runtime's errors in one line: its own words, and the node, operator and opset they are about."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hil.errors import EngineBuildError, HilError, UserError

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

LENGTH = 400
"""Most characters of ONNX Runtime's words that a message repeats; some carry a whole C++ signature."""

_STAMP = re.compile(r"\[ONNXRuntimeError\] : \d+ : (?P<code>[A-Z_]+) : (?P<words>.*)", re.DOTALL)
_LOAD = re.compile(r"^Load model from .*? failed:\s*", re.DOTALL)
_OPERATORS = (
    re.compile(r"No Op registered for (\w+)"),
    re.compile(r"(?:Fatal error: )?(?:[\w.]*:)?(\w+)\(-?\d+\) is not a registered function/op"),
    re.compile(r"implementation for (\w+)\(\d+\) node"),
)
_UNREADABLE = ("INVALID_PROTOBUF", "NO_SUCHFILE", "NO_MODEL")


def explained(error: Exception, model: Path, doing: str) -> HilError:
    """The error to raise for what ONNX Runtime threw while ``doing`` something with ``model``.

    ``UserError`` for a file that cannot be read, ``EngineBuildError`` for the rest; an unsupported
    operator is named with its node and opset.
    """
    match = _STAMP.match(str(error))
    code, words = (match["code"], match["words"]) if match else (type(error).__name__, str(error))
    words = " ".join(_LOAD.sub("", words).split())[:LENGTH] or type(error).__name__
    if code in _UNREADABLE:
        return UserError(
            f"cannot read {model} ({words}): model {model.stem}: export it again / check it was copied whole"
        )
    found = next((hit[1] for pattern in _OPERATORS if (hit := pattern.search(words))), None)
    if found is None:
        return EngineBuildError(f"ONNX Runtime failed {doing}: model {model.stem}: {code}: {words}")
    return EngineBuildError(
        f"ONNX Runtime cannot run operator {found}{_place(model, found)}: model {model.stem}: {words}: "
        f"export with operators that this ONNX Runtime has / upgrade it"
    )


def _place(model: Path, operator: str) -> str:
    """``" of node 'conv1' (opset 13)"`` as far as the file tells."""
    import onnx

    try:
        proto: onnx.ModelProto = onnx.load(str(model), load_external_data=False)
    except Exception:  # noqa: BLE001 - the first error is the one to tell
        return ""
    nodes = [node for node in proto.graph.node if node.op_type == operator]
    if not nodes:
        return ""
    opset = next((entry.version for entry in proto.opset_import if entry.domain == nodes[0].domain), "?")
    domain = f" of domain {nodes[0].domain}" if nodes[0].domain else ""
    return f" of node {nodes[0].name or nodes[0].output[0]!r} ({f'opset {opset}'}{domain})"
