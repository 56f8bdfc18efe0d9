"""Splits scikit-learn's handwritten digits into training, validation and calibration data.

``python -m examples.digits.data`` writes the three files again.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Arrays = dict[str, Any]

HERE = Path(__file__).parent
SEED = 0
CALIBRATION = 256
VALIDATION = 541
WHITE = 16
"""Largest pixel value: each pixel counts the set points of a 4x4 block of the scanned bitmap."""


def load() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return all distinct digits: images float32 (n, 1, 8, 8) in 0..1 and labels int64 (n,).

    Of identical images, only one is kept, so that no two splits can share an image.
    """
    # Named at run time: a development dependency without type hints.
    digits = import_module("sklearn.datasets").load_digits()
    images = (digits.images / WHITE).astype(np.float32)[:, None]
    _, first = np.unique(images.reshape(len(images), -1), axis=0, return_index=True)
    keep = np.sort(first)
    return images[keep], digits.target[keep].astype(np.int64)


def split() -> dict[str, Arrays]:
    """Return ``calibration``, ``validation`` and ``train``: disjoint parts of one seeded shuffle."""
    images, labels = load()
    order = np.random.default_rng(SEED).permutation(len(images))
    parts = np.split(order, [CALIBRATION, CALIBRATION + VALIDATION])
    names = ("calibration", "validation", "train")
    return {name: {"image": images[part], "labels": labels[part]} for name, part in zip(names, parts, strict=True)}


def main() -> None:
    """Write ``train.npz``, ``validation.npz`` and ``calibration.npz`` beside this file."""
    for name, arrays in split().items():
        np.savez_compressed(HERE / f"{name}.npz", **arrays)
        print(f"{name}: {len(arrays['labels'])} samples")  # noqa: T201 - a script's output


if __name__ == "__main__":
    main()
