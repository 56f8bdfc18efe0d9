"""Common sizes of dynamic dimensions, as tables, and the order in which combinations of them are tried."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import TYPE_CHECKING

from hil.proposals.roles import AUDIO, Role, image_axes, roles

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hil.onnx_files.signature import Signature, TensorSpec

SQUARES: dict[str, tuple[int, ...]] = {
    "classifier": (224, 320, 640, 416, 512, 256, 299, 384, 240, 192, 160, 128, 112, 96, 64, 32, 28),
    "detector": (640, 320, 416, 512, 224, 256, 300, 1024, 384, 160, 128, 96, 64, 32),
    "text": (320, 224, 640, 256, 128, 64, 32),
    "dense": (512, 640, 320, 256, 224, 416, 384, 518, 1024, 128, 64, 32),
}
"""Height and width of images, by the kind of network that the outputs suggest."""

LINES = ((48, 192), (48, 320), (32, 320), (32, 100), (32, 128), (64, 256))
"""Height and width of images of one line of text."""

LINE_HEIGHTS = (32, 48, 64)
WIDTHS = (320, 192, 100, 128, 160, 256, 640, 64, 32)
"""Widths of images of one line of text, whose height is one of ``LINE_HEIGHTS``."""

LENGTHS: dict[Role, tuple[int, ...]] = {
    Role.AUDIO: (16_000, 512, 576, 256, 1536, 8000, 32_000, 48_000, 160, 400, 1024, 4000, 128, 64, 100, 10, 8, 4, 1),
    Role.TOKENS: (128, 64, 77, 32, 256, 512, 2048, 16, 8, 1),
    Role.FEATURES: (100, 16, 128, 64, 32, 200, 300, 3000, 10, 8, 1),
    Role.STATE: (64, 128, 256, 512, 16, 1),
    Role.VIDEO: (16, 112, 224, 8, 32),
    Role.PARAMETER: (1, 2, 4),
    Role.OTHER: (128, 64, 256, 32, 16, 224, 320, 512, 640, 8, 4, 3, 2, 1),
}
"""Sizes of any other dynamic dimension, by the role of its input."""

STEP = (512, 576, 256, 1536, 160, 400, 16_000, 1024)
"""Audio samples of one step of a recurrent model."""

CHANNELS = (3, 1, 4)
MANY_CLASSES = 1500
"""The least number of scores per position that suggests characters, not boxes, if the number of positions is dynamic.
"""
MOST = 4096
"""The most combinations that are put into order."""


@dataclass(frozen=True)
class Group:
    """Dimensions that are tried together: ``candidates`` has combinations of a size for each of ``dimensions``."""

    dimensions: tuple[str, ...]
    candidates: tuple[tuple[int, ...], ...]


def groups(
    signature: Signature,
    hinted: Sequence[tuple[int, int]] = (),
    required: Mapping[str, Mapping[int, int]] = MappingProxyType({}),
) -> tuple[Group, ...]:
    """Return the dynamic dimensions of a declared signature that have no sizes yet, except batch dimensions.

    Each dimension is in one group, that of the first input that has the dimension. The heights and widths ``hinted``
    come before the usual sizes of images, and the sizes ``required`` (``graph_sizes.weight_sizes``) before all others.
    """
    kinds, found, known = roles(signature), [], {*signature.batch_names(), *signature.sizes}
    recurrent = Role.STATE in kinds.values()
    for tensor in signature.inputs:
        for axis, size in required.get(tensor.name, {}).items():
            name = tensor.shape[axis] if -len(tensor.shape) <= axis < len(tensor.shape) else None
            if isinstance(name, str) and name not in known:
                found.append(Group((name,), tuple((one,) for one in dict.fromkeys([size, *LENGTHS[Role.OTHER]]))))
                known.add(name)
    for tensor in signature.inputs:
        for group in _of_input(tensor, kinds[tensor.name], kind_of(signature), hinted, recurrent=recurrent):
            left = [place for place, name in enumerate(group.dimensions) if name not in known]
            names = tuple(dict.fromkeys(group.dimensions[place] for place in left))
            if not names:
                continue
            places = [group.dimensions.index(name) for name in names]
            # Dimensions with one name have one size: only candidates with equal sizes remain.
            rows = [row for row in group.candidates if _consistent(group.dimensions, row)]
            candidates = tuple(dict.fromkeys(tuple(row[place] for place in places) for row in rows))
            found.append(Group(names, candidates))
            known |= set(names)
    return tuple(found)


def assignments(found: Sequence[Group]) -> Iterator[dict[str, int]]:
    """Yield sizes by dimension, the most usual first: in the order of the sum of the candidates' positions."""
    allowed = max(1, int(MOST ** (1 / max(1, len(found)))))
    ranges = [range(min(allowed, len(group.candidates))) for group in found]
    for choice in sorted(product(*ranges), key=lambda choice: (sum(choice), max(choice, default=0))):
        yield {
            name: size
            for group, place in zip(found, choice, strict=True)
            for name, size in zip(group.dimensions, group.candidates[place], strict=True)
        }


def _consistent(names: Sequence[str], sizes: Sequence[int]) -> bool:
    return len({*zip(names, sizes, strict=True)}) == len(set(names))


def kind_of(signature: Signature) -> str:
    """Return the key of ``SQUARES`` that the declared outputs suggest."""
    shapes = [one.shape for one in signature.outputs if one.ranked]
    if len(shapes) == 1 and len(shapes[0]) == 3:  # (images, places, scores)
        _, places, scores = shapes[0]
        if not isinstance(places, int) and isinstance(scores, int) and scores >= MANY_CLASSES:
            return "text"
    ranks = [len(one.shape) for one in signature.outputs if one.ranked]
    if ranks and max(ranks) >= 4:
        return "dense"
    return "classifier" if ranks in ([1], [2]) else "detector"


def _of_input(
    tensor: TensorSpec, role: Role, kind: str, hinted: Sequence[tuple[int, int]], *, recurrent: bool
) -> Iterator[Group]:
    axes = image_axes(tensor.shape) if role is Role.IMAGE else None
    open_axes = [axis for axis, size in enumerate(tensor.shape) if isinstance(size, str) and axis != tensor.batch_axis]
    if axes is not None:
        yield from _of_image(tensor, axes, kind, hinted)
        return
    if role is Role.AUDIO and tensor.batch_axis is None and len(open_axes) > 1:
        role = Role.FEATURES  # of one recording: frames and their values
    for axis in open_axes:
        lengths = STEP if role is Role.AUDIO and recurrent else LENGTHS[role]
        if role is Role.FEATURES and AUDIO.search(tensor.name):
            lengths = (*LENGTHS[Role.FEATURES], *LENGTHS[Role.AUDIO])
        if "batch" in str(tensor.shape[axis]).lower():  # of other samples than the batch, such as the texts of CLIP
            lengths = (1, 2, *lengths)
        yield Group((str(tensor.shape[axis]),), tuple((length,) for length in lengths))


def _of_image(
    tensor: TensorSpec, axes: tuple[int, int, int], kind: str, hinted: Sequence[tuple[int, int]]
) -> Iterator[Group]:
    channels, height, width = (tensor.shape[axis] for axis in axes)
    if isinstance(height, str) and isinstance(width, str):
        squares = [(size, size) for size in SQUARES[kind]]
        first = 0 if kind == "text" else 7
        yield Group((height, width), (*hinted, *squares[:first], *LINES, *squares[first:]))
    elif isinstance(width, str):
        usual = WIDTHS if height in LINE_HEIGHTS else tuple(dict.fromkeys([int(height or 1), *SQUARES[kind]]))
        yield _one_side(width, [across for down, across in hinted if down == height], usual)
    elif isinstance(height, str):
        usual = tuple(dict.fromkeys([int(width or 1), *SQUARES[kind], *LINE_HEIGHTS]))
        yield _one_side(height, [down for down, across in hinted if across == width], usual)
    if isinstance(channels, str):
        yield Group((channels,), tuple((size,) for size in CHANNELS))


def _one_side(dimension: str, hinted: Sequence[int], usual: Sequence[int]) -> Group:
    return Group((dimension,), tuple((size,) for size in dict.fromkeys([*hinted, *usual])))
