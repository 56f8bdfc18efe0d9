"""Realistic inputs of the third-party models, made from seeds: speech, lines and pages of text, photographs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy.signal import lfilter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

RATE = 16_000
"""Samples of audio a second."""

SYLLABLE, GAP = 0.22, 0.08
FORMANTS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
"""Resonances of five vowels in Hz, as measured by Peterson and Barney (1952) for men."""

WORDS = [
    "robot",
    "arm",
    "camera",
    "stop",
    "door",
    "seven",
    "north",
    "table",
    "green",
    "exit",
    "lift",
    "level",
    "battery",
    "charge",
    "route",
    "42",
    "17",
    "305",
    "danger",
    "keep",
    "clear",
    "speed",
    "limit",
    "load",
    "120",
    "kg",
    "open",
    "close",
    "valve",
    "main",
    "switch",
    "room",
    "B12",
    "floor",
    "Tuesday",
    "parcel",
    "fragile",
]


def speech(seconds: float, seed: int) -> NDArray[np.float32]:
    """Return audio [samples] at ``RATE``: vowels of a changing voice in phrases, and pauses with background noise."""
    random = np.random.default_rng(seed)
    total = int(seconds * RATE)
    audio = np.zeros(total)
    start = int(0.4 * RATE)
    while start < total:
        for _ in range(int(random.integers(3, 7))):
            sound = _vowel(random, int(SYLLABLE * RATE * random.uniform(0.7, 1.3)))
            end = min(start + len(sound), total)
            audio[start:end] += sound[: max(end - start, 0)]
            start += len(sound) + int(GAP * RATE * random.uniform(0.3, 1.5))
        start += int(random.uniform(0.5, 1.0) * RATE)
    noisy = audio + 0.003 * random.standard_normal(total)
    return np.clip(noisy, -1, 1).astype(np.float32)


def _vowel(random: np.random.Generator, length: int) -> NDArray[np.float64]:
    """Return one vowel: pulses of the vocal folds, filtered by three resonances, under an envelope."""
    pitch = random.uniform(100, 180) * np.linspace(1.1, 0.9, length)
    phase = np.cumsum(pitch / RATE)
    sound = np.diff(np.floor(phase), prepend=0.0) + 0.02 * random.standard_normal(length)
    sound = lfilter([1.0], [1.0, -0.95], sound)
    for formant in FORMANTS[random.integers(len(FORMANTS))]:
        radius = np.exp(-np.pi * 80 / RATE)
        sound = lfilter([1.0], [1.0, -2 * radius * np.cos(2 * np.pi * formant / RATE), radius**2], sound)
    sound = np.diff(sound, prepend=0.0) * np.hanning(length)
    return np.asarray(sound / np.abs(sound).max() * random.uniform(0.2, 0.5))


def frames(audio: NDArray[np.float32], size: int, context: int) -> NDArray[np.float32]:
    """Return consecutive frames [frames, context + size], each with ``size`` new samples after ``context`` earlier."""
    padded = np.concatenate([np.zeros(context, np.float32), audio])
    count = len(audio) // size
    return np.stack([padded[index * size : index * size + size + context] for index in range(count)])


def line_of_text(text: str, height: int, width: int, seed: int) -> Image.Image:
    """Return an RGB photograph-like image of one line of text: uneven light, blur, noise."""
    random = np.random.default_rng(seed)
    paper, ink = (int(random.integers(*span)) for span in ((190, 250), (0, 70)))
    image = Image.new("RGB", (width, height), (paper, paper, paper - 8))
    font = ImageFont.load_default(size=height * random.uniform(0.55, 0.7))
    draw = ImageDraw.Draw(image)
    draw.text((height * 0.15, height / 2), text, font=font, fill=(ink, ink, ink + 20), anchor="lm")
    return _photographed(image, random)


def page(height: int, width: int, seed: int) -> Image.Image:
    """Return an RGB photograph-like image of a sign or label with some lines of text at several sizes."""
    random = np.random.default_rng(seed)
    tint = tuple(int(value) for value in random.integers(170, 250, 3))
    image = Image.new("RGB", (width, height), tint)
    draw = ImageDraw.Draw(image)
    top = float(random.uniform(8, 24))
    while top < height - 40:
        size = float(random.uniform(16, 36))
        words = " ".join(random.choice(WORDS, int(random.integers(1, 4))))
        ink = tuple(int(value) for value in random.integers(0, 90, 3))
        draw.text((float(random.uniform(6, width * 0.3)), top), words, font=ImageFont.load_default(size=size), fill=ink)
        top += size * float(random.uniform(1.3, 2.2))
    return _photographed(image.rotate(float(random.uniform(-3, 3)), fillcolor=tint), random)


def _photographed(image: Image.Image, random: np.random.Generator) -> Image.Image:
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(float(random.uniform(0.3, 0.8)))), np.float32)
    light = np.linspace(random.uniform(0.85, 1.0), random.uniform(0.85, 1.0), pixels.shape[1])
    noisy = pixels * light[None, :, None] + random.normal(0, 3, pixels.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def photographs(count: int, size: int, seed: int) -> Iterator[Image.Image]:
    """Yield square crops of the two photographs that scikit-learn has, at random places and scales."""
    random = np.random.default_rng(seed)
    spec = importlib.util.find_spec("sklearn")  # finding it is fast; importing it takes seconds
    assert spec is not None
    assert spec.origin is not None
    sources = [Image.open(path) for path in sorted((Path(spec.origin).parent / "datasets/images").glob("*.jpg"))]
    for index in range(count):
        source = sources[index % len(sources)]
        side = int(random.uniform(0.5, 1.0) * min(source.size))
        left, top = (int(random.integers(0, length - side + 1)) for length in source.size)
        yield source.convert("RGB").resize((size, size), box=(left, top, left + side, top + side))


def normalized(image: Image.Image) -> NDArray[np.float32]:
    """Return an image as PaddleOCR's models take it: BGR [3, height, width] in -1..1."""
    pixels = np.asarray(image, np.float32)[:, :, ::-1].transpose(2, 0, 1) / 127.5 - 1
    return np.ascontiguousarray(pixels, np.float32)
