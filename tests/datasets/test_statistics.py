from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from hil.datasets.likeness import near
from hil.datasets.statistics import far, statistics_of
from tests.memory_data import MemoryData


def pictures(count: int, seed: int = 0, side: int = 64) -> np.ndarray:
    """Smooth random pictures, uint8 (count, side, side, 3)."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        small = random.integers(0, 256, (6, 6, 3), np.uint8)
        found.append(np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)))
    return np.stack(found)


def saved_again(picture: np.ndarray, quality: int) -> np.ndarray:
    """As JPEG gives it back."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "jpeg", quality=quality)
    return np.asarray(Image.open(file))


def test_spread_leaves_out_the_outermost_percent() -> None:
    """One wild value among thousands changes neither mean nor deviation; its sample's peak shows it."""
    values = np.random.default_rng(0).normal(0, 1, (100, 50)).astype(np.float32)
    wild = values.copy()
    wild[17, 3] = 1e6
    calm, found = statistics_of(MemoryData(x=values)).inputs["x"], statistics_of(MemoryData(x=wild)).inputs["x"]
    assert found.deviation == pytest.approx(calm.deviation, rel=0.01)
    [(sample, times)] = far(found.peaks, 8.0)
    assert (sample, times > 1e5) == (17, True)
    assert far(calm.peaks, 8.0) == []
    assert far(np.zeros(5), 8.0) == far(np.ones(1), 8.0) == []


def test_constants_and_repeats_are_counted() -> None:
    """A sample is constant if all of its signals are; integers, such as token numbers, are none."""
    values = np.random.default_rng(0).normal(0, 1, (10, 4)).astype(np.float32)
    values[:3] = 0.5
    found = statistics_of(MemoryData(x=values, kinds=np.zeros((10, 6), np.int64)))
    assert (found.samples, found.distinct, found.constant) == (10, 8, 3)
    assert statistics_of(MemoryData(x=values), 2).constant == 2
    assert statistics_of(MemoryData(kinds=np.zeros((10, 6), np.int64))).constant == 0


@pytest.mark.parametrize("quality", [95, 75])
def test_a_picture_saved_again_is_near(quality: int) -> None:
    """JPEG moves a picture less than pictures differ, in whichever dtype and order they are fed."""
    ours = pictures(20)
    theirs = pictures(30, seed=1)
    theirs[11] = saved_again(ours[4], quality)
    found = near(MemoryData(image=ours), MemoryData(image=theirs))
    assert [(one, other) for one, other, _ in found.pairs] == [(4, 11)]
    scaled = [MemoryData(image=(one / 255).astype(np.float32)) for one in (ours, theirs)]
    assert [(one, other) for one, other, _ in near(*scaled).pairs] == [(4, 11)]


def test_different_pictures_are_not_near() -> None:
    """No pair among thousands is accused."""
    found = near(MemoryData(image=pictures(60)), MemoryData(image=pictures(60, seed=1)))
    assert (found.pairs, found.checked, found.against) == ((), 60, 60)


def test_closeness_of_a_few_numbers_says_nothing() -> None:
    """Nine joint angles drawn densely have neighbours; constant samples are near to nothing."""
    points = np.random.default_rng(0).normal(0, 1, (50, 9)).astype(np.float32)
    assert near(MemoryData(x=points), MemoryData(x=points)).checked == 0
    flat = np.zeros((3, 8, 8), np.float32)
    assert near(MemoryData(x=flat), MemoryData(x=flat)).pairs == ()
