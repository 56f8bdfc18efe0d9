"""Photographs of people: crops and collages of two portraits in the public domain, from pinned Python packages."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from tests.zoo.packages import installed

PACKAGES = Path(__file__).with_name("packages.txt")
PORTRAITS = ("skimage/data/astronaut.png", "matplotlib/mpl-data/sample_data/grace_hopper.jpg")


@cache
def _portraits() -> list[Image.Image]:
    folder = installed(PACKAGES, PORTRAITS)
    return [Image.open(folder / name).convert("RGB") for name in PORTRAITS]


def collages(count: int, size: int, seed: int) -> np.typing.NDArray[np.float32]:
    """Return RGB images [count, 3, size, size] in 0..1: one crop, or two side by side, in changing light."""
    random = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        image = _crop(random, size, size)
        if random.random() < 0.3:
            image.paste(_crop(random, size // 2, size), (0, 0))
        light = np.linspace(random.uniform(0.6, 1.1), random.uniform(0.6, 1.1), size)[None, :, None] * random.uniform(
            0.9, 1.1, 3
        )
        pixels = np.asarray(image, np.float32) / 255 * light + random.normal(0, 0.01, (size, size, 3))
        images.append(np.clip(pixels, 0, 1).transpose(2, 0, 1).astype(np.float32))
    return np.stack(images)


def _crop(random: np.random.Generator, width: int, height: int) -> Image.Image:
    """Return the upper part of a portrait, turned by some degrees, perhaps mirrored."""
    source = _portraits()[int(random.integers(len(PORTRAITS)))].rotate(
        float(random.uniform(-8, 8)), Image.Resampling.BILINEAR
    )
    tall = random.uniform(0.55, 0.95) * min(source.size)
    wide = tall * width / height
    left = (
        random.uniform(0, source.size[0] - wide)
        if width == height
        else (source.size[0] - wide) * random.uniform(0.3, 0.6)
    )
    top = random.uniform(0, (source.size[1] - tall) / 2)
    image = source.resize((width, height), Image.Resampling.BILINEAR, box=(left, top, left + wide, top + tall))
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else image
