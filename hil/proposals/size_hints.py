"""Sizes of images that a model's file names beside its graph: in its metadata, and in its name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hil.proposals.sizes import LINES, SQUARES

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

KEYS = ("imgsz", "img_size", "image_size", "input_size")
"""Keys of the metadata whose value is the size of images: one number, or height and width."""

SIDES = range(16, 4097)
"""Numbers that may be the height or width of an image, in pixels."""

SMALLEST_NAMED = 96
"""The smallest number in a name that counts as a size: a smaller one is more often a version or a number of layers."""

PAIR = re.compile(r"(?<!\d)(\d{2,4})x(\d{2,4})(?!\d)")
NUMBER = re.compile(r"(?<![\d.])(\d{2,4})(?![\d.]*\d)")
TEXT = re.compile(r"ocr", re.IGNORECASE)
"""Names of models that read one line of text, if they are not detectors."""


def hinted_sizes(model: onnx.ModelProto, name: str, kind: str) -> tuple[tuple[int, int], ...]:
    """Return the heights and widths that the metadata or the ``name`` of a model suggest, the more certain ones first.

    ``kind`` is a key of ``SQUARES``.
    """
    return tuple(dict.fromkeys([*_in_metadata(model), *_in_name(name, kind)]))


def _in_metadata(model: onnx.ModelProto) -> Iterator[tuple[int, int]]:
    values = {one.key: one.value for one in model.metadata_props}
    for key in KEYS:
        numbers = [int(one) for one in re.findall(r"\d+", values.get(key, ""))]
        if len(numbers) in {1, 2} and all(one in SIDES for one in numbers):
            yield numbers[0], numbers[-1]


def _in_name(name: str, kind: str) -> Iterator[tuple[int, int]]:
    for pair in PAIR.findall(name):
        height, width = map(int, pair)
        if height in SIDES and width in SIDES:
            yield height, width
    known = {size for sizes in SQUARES.values() for size in sizes if size >= SMALLEST_NAMED}
    yield from ((int(one), int(one)) for one in NUMBER.findall(PAIR.sub("", name)) if int(one) in known)
    if kind == "classifier" and TEXT.search(name):
        yield from LINES
