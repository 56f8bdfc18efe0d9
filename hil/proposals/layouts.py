"""Layouts of a detector's boxes, recognized from the shapes of its outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

Shape = tuple[int, ...]
Shapes = tuple[Shape, ...]

FEWEST_BOXES, MOST_AFTER_NMS = 20, 2000


def layout_of_shapes(image: tuple[int, int], shapes: Shapes) -> str:
    """Return the ``layout`` of ``[models.NAME.detection]`` that these outputs have; empty if they are not boxes.

    ``image`` is the height and the width of the images.
    """
    return next((name for name, applies in LAYOUTS.items() if applies(shapes, _cells(image))), "")


def _cells(image: tuple[int, int]) -> int:
    """Return the number of cells of the grids with 8, 16 and 32 pixels a cell."""
    return sum(-(-image[0] // stride) * -(-image[1] // stride) for stride in (8, 16, 32))


def _efficient_nms(shapes: Shapes, _: int) -> bool:
    """Return whether there are counts [samples, 1], boxes [samples, boxes, 4], scores and classes [samples, boxes]."""
    boxes = any(len(shape) == 3 and shape[2] == 4 for shape in shapes)
    return boxes and sorted(map(len, shapes)) == [2, 2, 2, 3]


def _boxes_and_scores(shapes: Shapes, _: int) -> bool:
    """Return whether there are 20 or more boxes [samples, boxes, 4], and scores [samples, boxes, classes].

    Both outputs may be in either order.
    """
    if [len(shape) for shape in shapes] != [3, 3]:
        return False
    (_, first, four), (_, second, other) = shapes
    return 4 in {four, other} and first == second >= FEWEST_BOXES


def _end_to_end(shapes: Shapes, _: int) -> bool:
    """Return whether there are 20 to 2000 boxes [samples, boxes, 6], each x1 y1 x2 y2 score class."""
    if [len(shape) for shape in shapes] != [3]:
        return False
    _, boxes, columns = shapes[0]
    return columns == 6 and FEWEST_BOXES <= boxes <= MOST_AFTER_NMS


def _channels_first(shapes: Shapes, cells: int) -> bool:
    """Return whether there are boxes [samples, 4 + classes, boxes], whose number is a multiple of ``cells``."""
    if [len(shape) for shape in shapes] != [3]:
        return False
    _, columns, boxes = shapes[0]
    return boxes > columns >= 5 and boxes % cells == 0


def _objectness(shapes: Shapes, cells: int) -> bool:
    """Return whether there are boxes [samples, boxes, 5 + classes], whose number is a multiple of ``cells``."""
    if [len(shape) for shape in shapes] != [3]:
        return False
    _, boxes, columns = shapes[0]
    return boxes > columns >= 6 and boxes % cells == 0


LAYOUTS: dict[str, Callable[[Shapes, int], bool]] = {
    "efficient-nms": _efficient_nms,
    "boxes-scores": _boxes_and_scores,
    "end-to-end": _end_to_end,
    "channels-first": _channels_first,
    "objectness": _objectness,
}
"""The layouts of ``[models.NAME.detection]``, each with a test of the outputs' shapes and the number of cells."""

OF_CELLS = frozenset({"channels-first", "objectness"})
"""Layouts with one box for each cell of a grid. A network that does not decode its boxes may have the same shapes."""
