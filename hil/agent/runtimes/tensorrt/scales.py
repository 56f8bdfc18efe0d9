"""TensorRT's calibration cache: a header line, then ``TENSOR: HEX``, a float32 scale without its leading zeros."""

import json
import re
import struct
from typing import Dict, NamedTuple, Optional

HEADER = re.compile(r"TRT-(\d+)-(\w+)")
NAMES = {"entropy2": "EntropyCalibration2", "minmax": "MinMaxCalibration"}
MAX_SCALES = 100000
MAX_RECORDED = 300 << 10  # characters; a reply's header ends at 1 MiB


class Scales(NamedTuple):
    """``by_tensor``: amax / 127; None for one that is no finite number."""

    header: str
    by_tensor: Dict[str, Optional[float]]


def decode(cache: bytes) -> Scales:
    """Reads a cache. Raises ``ValueError``, which names the line, for anything else."""
    lines = cache.decode("utf-8", "replace").splitlines()
    if not lines or not HEADER.fullmatch(lines[0].strip()):
        raise ValueError("no header line")
    found: Dict[str, Optional[float]] = {}
    for line in lines[1:]:
        if not line.strip():
            continue
        # Tensor names come from exporters and may hold ": " themselves.
        name, separator, text = line.rpartition(": ")
        if not separator or not re.fullmatch(r"[0-9a-fA-F]{1,8}", text.strip()):
            raise ValueError("the line %.80r" % line)
        (scale,) = struct.unpack("!f", bytes(bytearray.fromhex(text.strip().zfill(8))))
        found[name] = scale if abs(scale) < float("inf") else None
        if len(found) > MAX_SCALES:
            raise ValueError("over %d tensors" % MAX_SCALES)
    return Scales(lines[0].strip(), found)


def misfit(cache: bytes, algorithm: str) -> str:
    """Why it is no cache that ``algorithm`` wrote, with at least one scale; empty if it is one."""
    try:
        scales = decode(cache)
    except ValueError as error:
        return "unreadable at %s" % error
    match = HEADER.fullmatch(scales.header)
    if match is None or match.group(2) != NAMES[algorithm]:
        return "headed %.80r" % scales.header
    return "" if scales.by_tensor else "without a single scale"


def bounded(by_tensor: Dict[str, Optional[float]]) -> Dict[str, Optional[float]]:
    """As many of the scales as a record has room for."""
    kept, size = {}, 0
    for name, scale in by_tensor.items():
        size += len(json.dumps(name)) + 30  # escapes make it longer
        if size > MAX_RECORDED:
            break
        kept[name] = scale
    return kept
