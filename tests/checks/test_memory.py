from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hil.checks import memory
from hil.results import Cause, Limit, Sense, Verdict

MIB = 2.0**20


def at_most(value: float, unit: str = "B") -> Limit:
    """An upper limit that the test wrote."""
    return Limit(value=value, unit=unit, sense=Sense.AT_MOST, source="test")


LEAK = at_most(MIB, memory.GROWTH_UNIT)
RUNS = np.arange(0, 2001, 20)


@pytest.mark.parametrize("judge", [memory.peak, memory.engine_size])
@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (MIB, Verdict.PASSED),
        (MIB + 1, Verdict.FAILED),
        (0.0, Verdict.INCONCLUSIVE),
        (-1.0, Verdict.INCONCLUSIVE),
        (None, Verdict.INCONCLUSIVE),
        (math.nan, Verdict.INCONCLUSIVE),
    ],
)
def test_bytes_against_their_limit(judge: object, value: float | None, verdict: Verdict) -> None:
    """Up to the limit passes; nothing, and what is not readable, never does."""
    assert callable(judge)
    assert judge(value, at_most(MIB)).verdict is verdict


@pytest.mark.parametrize(
    "judgement", [memory.peak(1.0, None), memory.engine_size(1.0, None), memory.system(1, 2, None)]
)
def test_without_a_limit_it_is_only_measured(judgement: object) -> None:
    """No limit: not run, never passed."""
    assert (getattr(judgement, "verdict", None), getattr(judgement, "cause", None)) == (
        Verdict.NOT_RUN,
        Cause.NO_LIMIT,
    )


@pytest.mark.parametrize(
    ("after", "before", "verdict"),
    [
        (30 * MIB, 20 * MIB, Verdict.PASSED),
        (41 * MIB, 20 * MIB, Verdict.FAILED),
        (20 * MIB, 30 * MIB, Verdict.INCONCLUSIVE),
        (20 * MIB, None, Verdict.INCONCLUSIVE),
        (20 * MIB, 0.0, Verdict.INCONCLUSIVE),
        (math.nan, 1.0, Verdict.INCONCLUSIVE),
    ],
)
def test_a_missing_baseline_is_not_zero(after: float, before: float | None, verdict: Verdict) -> None:
    """The increment needs both readings, and they must belong together."""
    assert memory.increment(after, before, at_most(20 * MIB)).verdict is verdict


@pytest.mark.parametrize(
    ("used", "total", "verdict"),
    [
        (84.0, 100.0, Verdict.PASSED),
        (86.0, 100.0, Verdict.FAILED),
        (50.0, 0.0, Verdict.INCONCLUSIVE),
        (150.0, 100.0, Verdict.INCONCLUSIVE),
        (None, 100.0, Verdict.INCONCLUSIVE),
    ],
)
def test_the_system_has_a_ceiling(used: float | None, total: float, verdict: Verdict) -> None:
    """A share of a total that is there."""
    assert memory.system(used, total, at_most(0.85, "1")).verdict is verdict


def test_flat_memory_does_not_grow() -> None:
    """The same reading throughout passes."""
    assert memory.growth(RUNS, np.full(RUNS.size, 50 * MIB), LEAK).verdict is Verdict.PASSED


def test_warming_up_is_no_leak() -> None:
    """What is filled in the first half and stays is not counted."""
    resident = 50 * MIB + np.minimum(RUNS, 800) * 0.1 * MIB
    assert memory.growth(RUNS, resident, LEAK).verdict is Verdict.PASSED


def test_a_leak_fails() -> None:
    """2 MiB in 1,000 inferences over a limit of 1 MiB, jitter or not."""
    resident = 50 * MIB + RUNS / 1000 * 2 * MIB + np.random.default_rng(0).normal(0, 4096, RUNS.size)
    judgement = memory.growth(RUNS, resident, LEAK)
    assert judgement.verdict is Verdict.FAILED
    assert judgement.measurement is not None
    assert judgement.measurement.value == pytest.approx(2 * MIB, rel=0.02)


def test_a_small_step_is_settled_by_its_size() -> None:
    """One step of 100 KiB has no useful slope, but cannot be more than it is."""
    resident = np.where(RUNS > 1500, 50 * MIB + 100 * 1024, 50 * MIB)
    assert memory.growth(RUNS, resident, LEAK).verdict is Verdict.PASSED


def test_one_large_step_does_not_pass() -> None:
    """A leak that comes rarely and in bulk is not overlooked."""
    resident = np.where(RUNS > 1500, 54 * MIB, 50 * MIB)
    assert memory.growth(RUNS, resident, LEAK).verdict is not Verdict.PASSED


@pytest.mark.parametrize(
    ("runs", "resident"),
    [
        ([], []),
        ([0, 2000], [1.0, 1.0]),
        (RUNS, np.zeros(RUNS.size)),
        (RUNS, np.full(RUNS.size, math.nan)),
        (RUNS[:-1], np.ones(RUNS.size)),
        (np.zeros(100), np.ones(100)),
    ],
    ids=["none", "two", "zero", "nan", "lengths", "no-runs"],
)
def test_a_soak_that_was_none_never_passes(runs: np.ndarray, resident: np.ndarray) -> None:
    """Too few readings, unreadable ones, or inferences that do not count up."""
    assert memory.growth(runs, resident, LEAK).verdict is Verdict.INCONCLUSIVE


@given(st.floats(0, 4), st.integers(0, 10))
def test_a_passed_soak_grew_less_than_allowed(rate: float, seed: int) -> None:
    """Whatever the noise, a leak of twice the limit never passes."""
    noise = np.random.default_rng(seed).normal(0, 64 * 1024, RUNS.size)
    judgement = memory.growth(RUNS, 50 * MIB + RUNS / 1000 * rate * MIB + noise, LEAK)
    if rate >= 2:
        assert judgement.verdict is not Verdict.PASSED


@given(
    st.integers(20, 200),
    st.lists(st.tuples(st.floats(0, 1), st.integers(-(2**32), 2**32)), max_size=4),
    st.sampled_from([0.0, 4096.0, 2.0**24]),
    st.integers(0, 5),
)
@example(100, [(0.76, 2**30)], 0.0, 0)
@example(40, [(0.6, -(2**30)), (0.9, 2**20)], 0.0, 0)
def test_growth_stays_within_what_was_read(
    points: int, steps: list[tuple[float, int]], noise: float, seed: int
) -> None:
    """Whatever steps memory takes, value and interval are ordered, and within the range of the readings up or down."""
    runs = np.arange(points) * 20.0
    resident = 2.0**34 + np.random.default_rng(seed).normal(0, noise, points)
    for place, size in steps:
        resident[int(place * points) :] += size
    judgement = memory.growth(runs, resident, LEAK)
    seen = judgement.measurement
    assert seen is not None
    assert seen.low is not None
    assert seen.high is not None
    watched = runs[runs >= runs[-1] / 2]
    most = judgement.details["range"] / float(np.ptp(watched)) * 1000
    assert -most <= seen.low <= seen.value <= seen.high <= most


@pytest.mark.parametrize(
    ("host", "device", "unified", "includes", "counted"),
    [
        (5.0, 7.0, False, False, 7.0),  # a GPU of its own: that alone
        (5.0, 7.0, True, False, 12.0),  # shared: both
        (5.0, 7.0, True, True, 7.0),  # the machine's difference has the host's part in it
        (None, 7.0, False, False, 7.0),
        (None, 7.0, True, False, None),
        (5.0, None, False, False, None),
        (5.0, None, True, False, None),
        (5.0, None, True, True, None),
        (5.0, 0.0, True, False, None),
        (5.0, math.nan, False, False, None),
    ],
)
def test_the_host_s_part_never_stands_for_the_device(
    host: float | None, device: float | None, unified: bool, includes: bool, counted: float | None
) -> None:
    """A device that cannot be read leaves nothing to judge, however well the host's memory is known."""
    found = memory.footprint(host, device, unified=unified, includes_host=includes)
    assert found == counted
    assert counted is not None or memory.peak(found, at_most(MIB)).verdict is Verdict.INCONCLUSIVE


def test_a_leak_on_the_device_fails() -> None:
    """Host memory stays flat, the GPU's grows: that is a leak, on either kind of GPU."""
    resident = np.full(RUNS.size, int(50 * MIB))
    device = (500 * MIB + RUNS / 1000 * 2 * MIB).astype(np.int64)
    for unified in (True, False):
        watched = memory.soaked(resident, device, unified=unified)
        assert memory.growth(RUNS, watched, LEAK).verdict is Verdict.FAILED


@pytest.mark.parametrize("device", [None, np.zeros(RUNS.size, np.int64), np.ones(3, np.int64)], ids=["none", "0", "3"])
def test_a_device_that_was_not_read_passes_no_soak(device: np.ndarray | None) -> None:
    """Flat host memory is no answer where the GPU's was not readable throughout."""
    resident = np.full(RUNS.size, int(50 * MIB))
    watched = memory.soaked(resident, device, unified=False)
    assert memory.growth(RUNS, watched, LEAK).verdict is Verdict.INCONCLUSIVE
