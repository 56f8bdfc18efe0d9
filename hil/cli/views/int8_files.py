"""Read the ranges for ``hil int8 diff`` from reports, Q/DQ models and TensorRT calibration caches."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from hil.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES = 256 * 2**20
"""The maximum size of a report or a cache in bytes; a model may be larger."""

Scales = dict[str, list[float]]


def scales_at(path: Path, model: str | None = None) -> Scales:
    """Return the INT8 scales of each tensor in the file, by its name; NaN for a scale that is not finite.

    ``model`` is needed only for a report of several models. Raise ``UserError`` if the file has no scales or cannot be
    read.
    """
    if not path.is_file():
        raise UserError(
            f"{path} does not exist: name a report.json, a Q/DQ model (.onnx) or a TensorRT calibration cache"
        )
    if path.suffix == ".onnx":
        return _of_model(path)
    if path.stat().st_size > MOST_BYTES:
        raise UserError(f"{path} is larger than any report or calibration cache: check that it is the right file")
    content = path.read_bytes()
    scales = _of_report(path, content, model) if content[:1] == b"{" else _of_cache(path, content)
    if not scales:
        raise UserError(f"{path} has no ranges: name the report of a run that judged int8.cache, or another cache")
    return scales


def _of_model(path: Path) -> Scales:
    from hil.quantize import read_ranges

    try:
        scales = {name: values for name, values in read_ranges(path).scales.items() if values}
    except Exception as error:  # noqa: BLE001 - protobuf's errors share no class with onnx's
        raise UserError(
            f"{path} cannot be read as an ONNX model ({str(error)[:200]}): check that it is complete"
        ) from None
    if not scales:
        raise UserError(f"{path} has no Q/DQ nodes: name the quantized model, not the FP32 one")
    return scales


def _of_cache(path: Path, content: bytes) -> Scales:
    from hil.agent.runtimes.tensorrt.scales import decode  # the agent's reader, so that there is only one

    try:
        scales = decode(content).by_tensor
    except ValueError as error:
        raise UserError(f"{path} is not a TensorRT calibration cache ({error}): check that it is complete") from None
    return {name: [math.nan if scale is None else scale] for name, scale in scales.items()}


def _of_report(path: Path, content: bytes, model: str | None) -> Scales:
    try:
        checks: list[Any] = json.loads(content)["checks"]
        rows = {str(row["model"]): row["details"].get("scales") for row in checks if row["id"] == "int8.cache"}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not a report of pytest-hil ({type(error).__name__}): name a report.json") from None
    scales_by_model = {name: scales for name, scales in rows.items() if isinstance(scales, dict)}
    if model is None and len(scales_by_model) > 1:
        raise UserError(
            f"{path} has ranges of several models: name one with --model ({', '.join(sorted(scales_by_model))})"
        )
    if not scales_by_model:
        return {}
    chosen = next(iter(scales_by_model)) if model is None else model
    if chosen not in scales_by_model:
        raise UserError(
            f"{path} has no ranges of model {chosen}: name one of its models ({', '.join(sorted(scales_by_model))})"
        )
    return {name: [float(scale)] for name, scale in scales_by_model[chosen].items()}
