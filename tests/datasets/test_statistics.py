from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hil.datasets.likeness import near
from hil.datasets.statistics import far, statistics_of
from tests.memory_data import MemoryData


def pictures(count: int, seed: int = 0, side: int = 64) -> np.ndarray:
    """Return smooth random images, uint8 (count, side, side, 3)."""
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(count):
        small = random.integers(0, 256, (6, 6, 3), np.uint8)
        drawn.append(np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)))
    return np.stack(drawn)


def saved_again(picture: np.ndarray, quality: int) -> np.ndarray:
    """Return the image after saving it as JPEG."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "jpeg", quality=quality)
    return np.asarray(Image.open(file))


def test_statistics_ignore_an_outlier() -> None:
    """One outlier among thousands does not change the deviation; the sample with the outlier is reported."""
    values = np.random.default_rng(0).normal(0, 1, (100, 50)).astype(np.float32)
    changed = values.copy()
    changed[17, 3] = 1e6
    plain, outlying = (statistics_of(MemoryData(x=array)).inputs["x"] for array in (values, changed))
    assert outlying.deviation == pytest.approx(plain.deviation, rel=0.01)
    [(sample, times)] = far(outlying.peaks, 8.0)
    assert (sample, times > 1e5) == (17, True)
    assert far(plain.peaks, 8.0) == []
    assert far(np.zeros(5), 8.0) == far(np.ones(1), 8.0) == []


def test_constants_and_repeats_are_counted() -> None:
    """A sample is constant if all its float and uint8 inputs are; token numbers do not matter."""
    values = np.random.default_rng(0).normal(0, 1, (10, 4)).astype(np.float32)
    values[:3] = 0.5
    statistics = statistics_of(MemoryData(x=values, kinds=np.zeros((10, 6), np.int64)))
    assert (statistics.samples, statistics.distinct, statistics.constant) == (10, 8, 3)
    assert statistics_of(MemoryData(x=values), 2).constant == 2
    assert statistics_of(MemoryData(kinds=np.zeros((10, 6), np.int64))).constant == 0


@pytest.mark.parametrize("quality", [95, 75])
def test_an_image_saved_again_is_near(quality: int) -> None:
    """An image that was saved again as JPEG is near its original, as bytes and as scaled floats."""
    ours = pictures(20)
    theirs = pictures(30, seed=1)
    theirs[11] = saved_again(ours[4], quality)
    found = near(MemoryData(image=ours), MemoryData(image=theirs))
    assert [(one, other) for one, other, _ in found.pairs] == [(4, 11)]
    scaled = [MemoryData(image=(one / 255).astype(np.float32)) for one in (ours, theirs)]
    assert [(one, other) for one, other, _ in near(*scaled).pairs] == [(4, 11)]


def test_different_images_are_not_near() -> None:
    """No pair of 3,600 pairs of different images is near."""
    found = near(MemoryData(image=pictures(60)), MemoryData(image=pictures(60, seed=1)))
    assert (found.pairs, found.checked, found.against) == ((), 60, 60)


def test_small_or_constant_samples_are_not_compared() -> None:
    """Samples of few numbers are not compared, because they are close by chance; constant samples are never near."""
    points = np.random.default_rng(0).normal(0, 1, (50, 9)).astype(np.float32)
    assert near(MemoryData(x=points), MemoryData(x=points)).checked == 0
    flat = np.zeros((3, 8, 8), np.float32)
    assert near(MemoryData(x=flat), MemoryData(x=flat)).pairs == ()


def test_a_state_that_many_samples_share_makes_no_other_input_near() -> None:
    """Samples with one large state and different noise are not near; a copy in which both changed slightly is."""
    random = np.random.default_rng(0)

    def data(frames: np.ndarray[Any, Any], noise: float) -> MemoryData:
        states = 5 + random.normal(0, 1, (1, 128)) + noise * random.normal(0, 1, (len(frames), 128))
        return MemoryData(frame=frames, state=states.astype(np.float32))

    frames = [0.003 * random.normal(0, 1, (20, 256)).astype(np.float32) for _ in range(2)]
    state = random.bit_generator.state
    ours = data(frames[0], 0.01)
    random.bit_generator.state = state
    assert near(ours, data(frames[1], 0.01)).pairs == ()
    random.bit_generator.state = state
    copied = np.concatenate([frames[1], frames[0][3:4] * np.float32(1.02)])
    assert [pair[:2] for pair in near(ours, data(copied, 0.01)).pairs] == [(3, 20)]
