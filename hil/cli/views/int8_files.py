"""Where ``hil int8 diff`` reads ranges: reports, Q/DQ models, TensorRT's calibration caches."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from hil.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES = 256 * 2**20
"""Of a report or a cache; a model may be larger."""

Scales = dict[str, list[float]]


def scales_at(path: Path, model: str | None = None) -> Scales:
    """Scales by tensor. Raises ``UserError`` for a file that has none, or cannot be read."""
    if not path.is_file():
        raise UserError(f"{path} is not there: name a report.json, a Q/DQ model (.onnx) or a TensorRT cache")
    if path.suffix == ".onnx":
        return _of_model(path)
    if path.stat().st_size > MOST_BYTES:
        raise UserError(f"{path} is larger than any report or calibration cache: is it the right file?")
    content = path.read_bytes()
    found = _of_report(path, content, model) if content[:1] == b"{" else _of_cache(path, content)
    if not found:
        raise UserError(f"{path} has no ranges: name a run in which int8.cache was judged")
    return found


def _of_model(path: Path) -> Scales:
    from hil.quantize import read_ranges

    try:
        scales = {name: each for name, each in read_ranges(path).scales.items() if each}
    except Exception as error:  # noqa: BLE001 - protobuf's errors share no class with onnx's
        raise UserError(f"{path} cannot be read as an ONNX model ({str(error)[:200]}): is it cut short?") from None
    if not scales:
        raise UserError(f"{path} has no Q/DQ nodes: name the quantized model, not the FP32 one")
    return scales


def _of_cache(path: Path, content: bytes) -> Scales:
    from hil.agent.runtimes.tensorrt.scales import decode  # the agent's reader, so that there is only one

    try:
        found = decode(content).by_tensor
    except ValueError as error:
        raise UserError(f"{path} is no calibration cache of TensorRT ({error}): is it cut short?") from None
    return {name: [math.nan if scale is None else scale] for name, scale in found.items()}


def _of_report(path: Path, content: bytes, model: str | None) -> Scales:
    try:
        checks: list[Any] = json.loads(content)["checks"]
        rows = {str(one["model"]): one["details"].get("scales") for one in checks if one["id"] == "int8.cache"}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is no report of pytest-hil ({type(error).__name__}): name a report.json") from None
    told = {name: scales for name, scales in rows.items() if isinstance(scales, dict)}
    if model is None and len(told) > 1:
        raise UserError(f"{path} has ranges of {', '.join(sorted(told))}: name one with --model")
    chosen = next(iter(told), "") if model is None else model
    if chosen not in told:
        raise UserError(
            f"{path} has no ranges of model {chosen or '(any)'}: it has {', '.join(sorted(told)) or 'none'}"
        )
    return {name: [float(scale)] for name, scale in told[chosen].items()}
