"""Layouts of a detector's boxes, recognized from the shapes of its outputs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

Shape = tuple[int, ...]
Shapes = tuple[Shape, ...]

FEWEST_BOXES, MOST_AFTER_NMS = 20, 2000

STRIDES = ((8, 16, 32), (16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (8, 16, 32, 64, 128))
"""Pixels of height and width for each cell of a detector's grids."""

MOST_ANCHORS = 9
"""The most boxes of one cell."""


def layout_of_shapes(image: tuple[int, int], shapes: Shapes) -> str:
    """Return the ``layout`` of ``[models.NAME.detection]`` that these outputs have; empty if they are not boxes.

    ``image`` is the height and the width of the images.
    """
    return next((name for name, applies in LAYOUTS.items() if applies(shapes, image)), "")


def _grid(image: tuple[int, int], stride: int) -> Shape:
    return -(-image[0] // stride), -(-image[1] // stride)


def is_pyramid(image: tuple[int, int], shapes: Shapes) -> bool:
    """Return whether each output has one row or one pixel for each cell of a grid, and there are several grids."""
    levels = _levels(image, shapes)
    return len(levels) > 1 and sum(map(len, levels.values())) == len(shapes)


def are_heads(image: tuple[int, int], shapes: Shapes) -> bool:
    """Return whether a detector returns its boxes grid by grid, so that no layout reads them.

    That is a pyramid (``is_pyramid``) with the same outputs for each grid. Either all have an axis of anchors, or one
    has a multiple of 4 columns and another one a different number: boxes, or distributions of their sides, and scores.
    """
    if not is_pyramid(image, shapes):
        return False
    first, *others = (sorted(level) for level in _levels(image, shapes).values())
    anchors = all(len(shape) == 5 for shape in shapes)
    boxes = len(set(first)) > 1 and any(columns % 4 == 0 for columns in first)
    return (anchors or boxes) and all(level == first for level in others)


def _levels(image: tuple[int, int], shapes: Shapes) -> dict[Shape, list[int]]:
    """Return the columns of the outputs that belong to a grid, by the grid's height and width."""
    grids = [_grid(image, stride) for stride in (4, 8, 16, 32, 64, 128)]
    levels: dict[Shape, list[int]] = {}
    for shape in shapes:
        for grid in grids:
            columns = _columns(shape, grid)
            if columns:
                levels.setdefault(grid, []).append(columns)
                break
    return levels


def _columns(shape: Shape, grid: Shape) -> int:
    """Return how many numbers an output has for each anchor of each cell; 0 if it is not one of this grid."""
    if len(shape) == 3 and 0 < shape[1] <= MOST_ANCHORS * math.prod(grid) and shape[1] % math.prod(grid) == 0:
        return shape[2]
    if len(shape) in {4, 5} and shape[-2:] == grid:
        return shape[-3]
    return shape[-1] if len(shape) in {4, 5} and shape[-3:-1] == grid else 0


def _has_cells(boxes: int, image: tuple[int, int], strides: Collection[Shape]) -> bool:
    """Return whether there are 1 to ``MOST_ANCHORS`` boxes for each cell of the grids with some of these strides."""
    counts = [sum(math.prod(_grid(image, one)) for one in grids) for grids in strides]
    return any(boxes % count == 0 and boxes <= MOST_ANCHORS * count for count in counts)


def _efficient_nms(shapes: Shapes, _: tuple[int, int]) -> bool:
    """Return whether there are counts [samples, 1], boxes [samples, boxes, 4], scores and classes [samples, boxes]."""
    boxes = any(len(shape) == 3 and shape[2] == 4 for shape in shapes)
    return boxes and sorted(map(len, shapes)) == [2, 2, 2, 3]


def _boxes_and_scores(shapes: Shapes, _: tuple[int, int]) -> bool:
    """Return whether there are 20 or more boxes [samples, boxes, 4], and scores [samples, boxes, classes].

    Both outputs may be in either order.
    """
    if [len(shape) for shape in shapes] != [3, 3]:
        return False
    first, second = shapes
    return 4 in {first[2], second[2]} and first[1] == second[1] >= FEWEST_BOXES


def _end_to_end(shapes: Shapes, image: tuple[int, int]) -> bool:
    """Return whether there are 20 to 2000 boxes [samples, boxes, 6], each x1 y1 x2 y2 score class.

    Boxes for each cell of the usual grids are those of a detector of one class (``_objectness``).
    """
    if [len(shape) for shape in shapes] != [3]:
        return False
    _, boxes, columns = shapes[0]
    return columns == 6 and FEWEST_BOXES <= boxes <= MOST_AFTER_NMS and not _has_cells(boxes, image, STRIDES[:1])


def _channels_first(shapes: Shapes, image: tuple[int, int]) -> bool:
    """Return whether there are boxes [samples, 4 + classes, boxes], some for each cell of its grids."""
    if [len(shape) for shape in shapes] != [3]:
        return False
    _, columns, boxes = shapes[0]
    return boxes > columns >= 5 and _has_cells(boxes, image, STRIDES)


def _objectness(shapes: Shapes, image: tuple[int, int]) -> bool:
    """Return whether there are boxes [samples, boxes, 5 + classes], some for each cell of its grids."""
    if [len(shape) for shape in shapes] != [3]:
        return False
    _, boxes, columns = shapes[0]
    return boxes > columns >= 6 and _has_cells(boxes, image, STRIDES)


LAYOUTS: dict[str, Callable[[Shapes, tuple[int, int]], bool]] = {
    "efficient-nms": _efficient_nms,
    "boxes-scores": _boxes_and_scores,
    "end-to-end": _end_to_end,
    "channels-first": _channels_first,
    "objectness": _objectness,
}
"""The layouts of ``[models.NAME.detection]``, each with a test of the outputs and of the image's size."""

OF_CELLS = frozenset({"channels-first", "objectness"})
"""Layouts with one box for each cell of a grid. A network that does not decode its boxes may have the same shapes."""
