"""Read TensorRT's calibration cache: a header line, then lines ``TENSOR: HEX``.

HEX is a float32 scale as a hexadecimal number without leading zeros.
"""

import json
import re
import struct
from typing import Dict, NamedTuple, Optional

HEADER = re.compile(r"TRT-(\d+)-(\w+)")
NAMES = {"entropy2": "EntropyCalibration2", "minmax": "MinMaxCalibration"}
MAX_SCALES = 100000
MAX_RECORDED = 300 << 10  # characters; a reply's header is limited to 1 MiB


class Scales(NamedTuple):
    """``by_tensor`` maps each tensor to its scale, the largest magnitude / 127; None if the scale is not finite."""

    header: str
    by_tensor: Dict[str, Optional[float]]


def decode(cache: bytes) -> Scales:
    """Parse ``cache``. Raise ``ValueError``, which states what is malformed, if it is not a calibration cache."""
    lines = cache.decode("utf-8", "replace").splitlines()
    if not lines or not HEADER.fullmatch(lines[0].strip()):
        raise ValueError("no header line")
    by_tensor: Dict[str, Optional[float]] = {}
    for line in lines[1:]:
        if not line.strip():
            continue
        # Tensor names come from exporters and may contain ": ".
        name, separator, text = line.rpartition(": ")
        if not separator or not re.fullmatch(r"[0-9a-fA-F]{1,8}", text.strip()):
            raise ValueError("the line %.80r" % line)
        (scale,) = struct.unpack("!f", bytes(bytearray.fromhex(text.strip().zfill(8))))
        by_tensor[name] = scale if abs(scale) < float("inf") else None
        if len(by_tensor) > MAX_SCALES:
            raise ValueError("over %d tensors" % MAX_SCALES)
    return Scales(lines[0].strip(), by_tensor)


def misfit(cache: bytes, algorithm: str) -> str:
    """Return why ``cache`` is not a valid cache of ``algorithm`` with scales; empty if it is valid."""
    try:
        scales = decode(cache)
    except ValueError as error:
        return "that cannot be read: %s" % error
    match = HEADER.fullmatch(scales.header)
    if match is None or match.group(2) != NAMES[algorithm]:
        return "with the header %.80r" % scales.header
    return "" if scales.by_tensor else "without a single scale"


def bounded(by_tensor: Dict[str, Optional[float]]) -> Dict[str, Optional[float]]:
    """Return the first scales, as many as fit into a record."""
    fitting, size = {}, 0
    for name, scale in by_tensor.items():
        size += len(json.dumps(name)) + 30  # of the JSON text, in which escapes take more than one character
        if size > MAX_RECORDED:
            break
        fitting[name] = scale
    return fitting
