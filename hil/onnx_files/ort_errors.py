"""Turn ONNX Runtime's exceptions into errors with one-line messages, which name an unsupported operator's node."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hil.agent.runtimes.onnxruntime import CUSTOM_ADVICE, LACKING_ADVICE, WHOLE_FILE, advice
from hil.errors import EngineBuildError, HilError, UserError
from hil.onnx_files.declared_shapes import wrong_declaration
from hil.onnx_files.operators import foreign, operators

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import onnx

LENGTH = 400
"""Maximum number of characters of ONNX Runtime's message in hil's; some contain a whole C++ signature."""

_STAMP = re.compile(r"\[ONNXRuntimeError\] : \d+ : (?P<code>[A-Z_]+) : (?P<text>.*)", re.DOTALL)
_LOAD = re.compile(r"^Load model from .*? failed:\s*", re.DOTALL)
_OPERATORS = (
    re.compile(r"No Op registered for (\w+)"),
    re.compile(r"(?:Fatal error: )?(?:[\w.]*:)?(\w+)\(-?\d+\) is not a registered function/op"),
    re.compile(r"(?:implementation|find kernel) for (\w+)\(\d+\)"),
)
_UNREADABLE = ("INVALID_PROTOBUF", "NO_SUCHFILE", "NO_MODEL")


def ort_error(error: Exception, model: Path, doing: str) -> HilError:
    """Return the error to raise for an exception of ONNX Runtime.

    The returned error is a ``UserError`` if the file cannot be read, else an ``EngineBuildError``. ``doing`` completes
    "ONNX Runtime failed …".
    """
    match = _STAMP.match(str(error))
    code, text = (match["code"], match["text"]) if match else (type(error).__name__, str(error))
    text = " ".join(_LOAD.sub("", text).split())[:LENGTH] or type(error).__name__
    if code in _UNREADABLE:
        return UserError(f"cannot read {model} ({text}): model {model.stem}: {WHOLE_FILE}")
    operator = next((match[1] for pattern in _OPERATORS if (match := pattern.search(text))), None)
    if operator is None:
        helps = wrong_declaration(model) or advice(str(error)) or (_invalid(model) if "load" in doing else "")
        more = f": {helps}" if helps else ""
        return EngineBuildError(
            f"ONNX Runtime failed {doing}: model {model.stem}: {code}: {text.rstrip('.') if more else text}{more}"
        )
    lacking = _foreign(model)
    if any(one.endswith(f":{operator}") for one in lacking):
        return _lacking_error(model, lacking)
    place = _place(model, operator)
    helps = advice(str(error)) or LACKING_ADVICE
    return EngineBuildError(f"ONNX Runtime cannot run operator {operator}{place}: model {model.stem}: {text}: {helps}")


def _invalid(model: Path) -> str:
    """Return which rule of ONNX a file breaks, and what to do; empty if it breaks none."""
    import onnx

    try:
        onnx.checker.check_model(str(model))
    except onnx.checker.ValidationError as error:
        rule = str(error).strip().split("\n")[0].rstrip(".")
        return (
            f"the file is not valid ({rule}): correct it with the onnx package until onnx.checker.check_model takes it"
        )
    except Exception:  # noqa: BLE001 - the first error is the one to report
        return ""
    return ""


def check_operators(model: Path, lacking: Sequence[str]) -> None:
    """Raise ``EngineBuildError`` if ``lacking``, the file's ``Signature.foreign``, is not empty."""
    if lacking:
        raise _lacking_error(model, lacking)


def _lacking_error(model: Path, lacking: Sequence[str]) -> EngineBuildError:
    parts = [one.rpartition(":") for one in lacking]
    shown = ", ".join(f"{name}{_place(model, name) or f' of domain {domain}'}" for domain, _, name in parts)
    return EngineBuildError(f"ONNX Runtime cannot run operator {shown}: model {model.stem}: {CUSTOM_ADVICE}")


def _foreign(model: Path) -> tuple[str, ...]:
    """Return the operators of ``model`` that ONNX Runtime lacks; empty if the file cannot be read."""
    proto = _read(model)
    return () if proto is None else foreign(operators(proto))


def _place(model: Path, operator: str) -> str:
    """Return where ``model`` first uses ``operator``, for example ``" of node 'conv1' (opset 13)"``.

    Return an empty string if the file cannot be read or no node has the operator.
    """
    proto = _read(model)
    nodes = [] if proto is None else [node for node in proto.graph.node if node.op_type == operator]
    if proto is None or not nodes:
        return ""
    opset = next((entry.version for entry in proto.opset_import if entry.domain == nodes[0].domain), "?")
    domain = f" of domain {nodes[0].domain}" if nodes[0].domain else ""
    return f" of node {nodes[0].name or nodes[0].output[0]!r} ({f'opset {opset}'}{domain})"


def _read(model: Path) -> onnx.ModelProto | None:
    import onnx

    try:
        return onnx.load(str(model), load_external_data=False)
    except Exception:  # noqa: BLE001 - the first error is the one to report
        return None
