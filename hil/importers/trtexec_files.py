"""Read what ``trtexec`` exports as JSON: ``--exportTimes``, ``--exportProfile`` and ``--exportLayerInfo``.

The three kinds are distinguished by their content. Keys that are not used here may have any value or be missing, since
they differ between releases.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hil.agent.failure import Failure
from hil.agent.runtimes.tensorrt.inspector import parse
from hil.errors import UserError
from hil.files import strictjson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LARGEST = 1 << 28
"""The maximum size of a file in bytes; it is read into memory."""

MS = 1e-3
TIMES = {"computeMs": "GPU Compute Time", "latencyMs": "Latency"}
"""Keys of an inference that are read, with the words that trtexec prints for them."""

HINT = "export it again with trtexec's --exportTimes, --exportProfile or --exportLayerInfo"


@dataclass(frozen=True)
class Times:
    """``seconds`` of each inference, in order, by trtexec's name for the quantity."""

    seconds: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Profile:
    """The mean time of each layer in seconds, in the engine's order, over ``count`` inferences."""

    count: int
    layers: Sequence[tuple[str, float]]


@dataclass(frozen=True)
class LayerInfo:
    """The layers as ``hil.agent.runtimes.tensorrt.inspector.parse`` returns them."""

    layers: Sequence[Mapping[str, Any]]


def read(path: Path) -> Times | Profile | LayerInfo:
    """Return the content of a file, of the kind that trtexec exported.

    Raise ``UserError`` if the file cannot be read, was not exported by trtexec, or has no times or layers.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path} is over {LARGEST >> 20} MiB: let trtexec measure for a shorter --duration")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}: check the path") from None
    try:
        return _read(content)
    except RecursionError:
        raise UserError(f"{path} is not a file that trtexec exported: it is nested too deeply: {HINT}") from None
    except (ValueError, OverflowError, Failure) as error:
        raise UserError(f"{path} is not a file that trtexec exported: {error}: {HINT}") from None


def _read(content: bytes) -> Times | Profile | LayerInfo:
    if content.lstrip().startswith(b"{"):
        layers = parse(content.decode("utf-8"))  # the agent's reader: names in these files are not always escaped
        if not layers:
            raise ValueError("it has no layer")
        return LayerInfo(layers)
    document = strictjson.loads(content)
    if not isinstance(document, list) or not all(isinstance(row, dict) for row in document):
        raise ValueError("it is not a list of rows")
    if not document:
        raise ValueError("it has no row")
    if "count" in document[0]:
        return _profile(document)
    columns = {words: [_seconds(row, key) for row in document] for key, words in TIMES.items()}
    return Times(columns)


def _profile(rows: list[dict[str, Any]]) -> Profile:
    count, layers = rows[0]["count"], rows[1:]
    if not isinstance(count, int) or isinstance(count, bool) or count < 1 or not layers:
        raise ValueError("it has a profile without inferences or layers")
    return Profile(count, [(str(row.get("name", "")), _seconds(row, "averageMs")) for row in layers])


def _seconds(row: dict[str, Any], key: str) -> float:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"a row has no time {key!r} in ms")
    return value * MS
