"""Composes scenes of the bundled handwritten digits, with a box around the ink of each.

``python -m examples.scenes.data`` writes ``validation.npz`` and ``calibration.npz`` again. Scenes to train on are
composed anew each time: ``training`` is what ``hil.toml`` names as training data.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    Images = npt.NDArray[np.float32]
    Boxes = npt.NDArray[np.float32]

HERE = Path(__file__).parent
DIGITS = HERE.parent / "digits"
SIZE = 48
"""Width and height of a scene in pixels."""

GLYPHS = (12, 20)
"""Smallest and largest side of a digit's square in pixels, including its margins."""

MOST = 4
"""The most digits of a scene; the fewest is one."""

LEVELS = 16
"""Number of steps of grey, as in the scanned digits."""

INK = 0.25
"""Pixels above this value are ink; a digit's box encloses exactly its ink."""

SEEDS = {"train": 1, "validation": 2, "calibration": 3}
VALIDATION, CALIBRATION, TRAINING = 320, 128, 3000
_TRIES = 50


def digits(part: str) -> tuple[Images, npt.NDArray[np.int64]]:
    """Return images (n, 8, 8) and labels (n,) of one part of the digits; the parts have no digit in common."""
    with np.load(DIGITS / f"{part}.npz", allow_pickle=False) as file:
        return file["image"][:, 0], file["labels"]


def scenes(part: str, count: int, seed: int | None = None, held_out: int = 0) -> dict[str, npt.NDArray[np.float32]]:
    """Return ``image`` (count, 1, 48, 48) in 0..1 and ``labels`` (count, 4, 5): x1, y1, x2, y2 in pixels, and class.

    Rows of ``labels`` without a digit are -1. If ``held_out`` is positive, the part's last ``held_out`` digits are left
    out; if it is negative, only the last ``-held_out`` digits are used.
    """
    made = list(_composed(part, count, seed, held_out))
    return {"image": np.stack([image for image, _ in made]), "labels": np.stack([boxes for _, boxes in made])}


def training() -> Iterator[dict[str, npt.NDArray[np.float32]]]:
    """Yield the scenes of the first epoch of training, one at a time."""
    for image, labels in _composed("train", TRAINING):
        yield {"image": image, "labels": labels}


def _composed(part: str, count: int, seed: int | None = None, held_out: int = 0) -> Iterator[tuple[Images, Boxes]]:
    random = np.random.default_rng(SEEDS[part] if seed is None else seed)
    glyphs, classes = digits(part)
    chosen = slice(held_out, None) if held_out < 0 else slice(len(glyphs) - held_out)
    glyphs, classes = glyphs[chosen], classes[chosen]
    for _ in range(count):
        yield _scene(random, glyphs, classes)


def _scene(random: np.random.Generator, glyphs: Images, classes: npt.NDArray[np.int64]) -> tuple[Images, Boxes]:
    image = np.zeros((1, SIZE, SIZE), np.float32)
    boxes = np.full((MOST, 5), -1, np.float32)
    taken = np.zeros((SIZE, SIZE), dtype=bool)
    wanted = random.integers(1, MOST + 1)
    placed = 0
    for _ in range(_TRIES):
        side = int(random.integers(GLYPHS[0], GLYPHS[1] + 1))
        x, y = (int(one) for one in random.integers(0, SIZE - side + 1, 2))
        picked = int(random.integers(len(glyphs)))
        if taken[y : y + side, x : x + side].any():
            continue
        glyph = enlarged(glyphs[picked], side)
        taken[y : y + side, x : x + side] = True
        image[0, y : y + side, x : x + side] = glyph
        boxes[placed] = (*_around(glyph, x, y), classes[picked])
        placed += 1
        if placed == wanted:
            break
    return image, boxes


def enlarged(glyph: Images, side: int) -> Images:
    """Return a square image enlarged bilinearly to ``side`` pixels, rounded to the grey levels of the digits."""
    low, share = _between(len(glyph), side)
    rows = glyph[low] * (1 - share) + glyph[low + 1] * share
    both = rows[:, low] * (1 - share.T) + rows[:, low + 1] * share.T
    return np.asarray(np.round(both * LEVELS) / LEVELS, dtype=np.float32)


@cache
def _between(pixels: int, side: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return each new pixel's preceding old pixel, shape (side,), and the next old pixel's weight, shape (side, 1)."""
    at = np.clip((np.arange(side) + 0.5) * pixels / side - 0.5, 0, pixels - 1)
    low = np.minimum(at.astype(np.int64), pixels - 2)
    return low, (at - low)[:, None]


def _around(glyph: Images, x: int, y: int) -> tuple[float, float, float, float]:
    rows, columns = (np.flatnonzero((glyph > INK).any(axis=axis)) for axis in (1, 0))
    return (float(x + columns[0]), float(y + rows[0]), float(x + columns[-1] + 1), float(y + rows[-1] + 1))


def main() -> None:
    """Write both files beside this one."""
    for part, count in (("validation", VALIDATION), ("calibration", CALIBRATION)):
        arrays = scenes(part, count)
        kept = arrays if part == "validation" else {"image": arrays["image"]}
        np.savez_compressed(HERE / f"{part}.npz", **kept)  # type: ignore[arg-type]  # no array is named allow_pickle
        print(f"{part}: {count} scenes")  # noqa: T201 - a script's output


if __name__ == "__main__":
    main()
