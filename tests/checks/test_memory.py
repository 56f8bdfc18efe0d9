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
    """Return an upper limit."""
    return Limit(value=value, unit=unit, sense=Sense.AT_MOST, source="test")


LEAK = at_most(MIB, memory.GROWTH_UNIT)
RUNS = np.arange(0, 2001, 20)
UNSEEN = memory.hidden(trimmed=True, has_device=False)


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
def test_bytes_are_judged_by_their_limit(judge: object, value: float | None, verdict: Verdict) -> None:
    """A value up to the limit passes; zero, negative and unreadable values are inconclusive."""
    assert callable(judge)
    assert judge(value, at_most(MIB)).verdict is verdict


@pytest.mark.parametrize(
    "judgement", [memory.peak(1.0, None), memory.engine_size(1.0, None), memory.system(1, 2, None)]
)
def test_without_a_limit_memory_is_only_measured(judgement: object) -> None:
    """Without a limit the row is not run with cause ``no_limit``."""
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
    """The increment is inconclusive without both readings, or if memory decreased."""
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
def test_system_memory_is_a_share_of_the_total(used: float | None, total: float, verdict: Verdict) -> None:
    """The used share of the total is judged; an impossible total is inconclusive."""
    assert memory.system(used, total, at_most(0.85, "1")).verdict is verdict


def test_flat_memory_does_not_grow() -> None:
    """A constant reading passes."""
    assert memory.growth(RUNS, np.full(RUNS.size, 50 * MIB), LEAK, unseen=UNSEEN).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("inferences", "trimmed", "device", "verdict"),
    [
        (30, True, False, Verdict.INCONCLUSIVE),
        (100, True, False, Verdict.PASSED),
        (200, False, False, Verdict.INCONCLUSIVE),
        (1000, False, False, Verdict.PASSED),
        (400, True, True, Verdict.INCONCLUSIVE),
        (2000, True, True, Verdict.PASSED),
    ],
)
def test_a_soak_too_short_to_show_a_leak_never_passes(
    inferences: int, trimmed: bool, device: bool, verdict: Verdict
) -> None:
    """Constant readings pass only if the soak was long enough for a leak of the limit's size to show."""
    runs = np.linspace(0, inferences, 51)
    unseen = memory.hidden(trimmed=trimmed, has_device=device)
    judgement = memory.growth(runs, np.full(runs.size, 50 * MIB), LEAK, unseen=unseen)
    assert judgement.verdict is verdict
    assert judgement.measurement is not None
    assert judgement.measurement.high == pytest.approx(unseen / inferences * 1000)
    assert (f"does not show in {inferences}" in judgement.reason) == (verdict is Verdict.INCONCLUSIVE)


@given(st.floats(2.0**10, 2.0**30), st.booleans())
def test_no_soak_passes_with_fewer_inferences_than_are_stated(limit: float, device: bool) -> None:
    """Constant readings pass with the stated number of inferences, and not with 10 % fewer."""
    fewest = memory.fewest_to_pass(at_most(limit, memory.GROWTH_UNIT), has_device=device)
    assert fewest is not None
    for inferences, verdict in ((fewest, Verdict.PASSED), (0.9 * fewest, Verdict.INCONCLUSIVE)):
        runs = np.linspace(0, inferences, 51)
        judgement = memory.growth(
            runs,
            np.full(runs.size, 50 * MIB),
            at_most(limit, memory.GROWTH_UNIT),
            unseen=memory.hidden(trimmed=True, has_device=device),
        )
        assert fewest < 10 or judgement.verdict is verdict
    assert memory.fewest_to_pass(at_most(0.0, memory.GROWTH_UNIT), has_device=device) is None


def test_settling_at_the_start_of_a_short_soak_is_no_leak() -> None:
    """Memory that only the first of 100 inferences allocate does not make the soak inconclusive."""
    runs = np.arange(101)
    resident = 50 * MIB + np.minimum(runs, 5) * 40 * 1024
    assert memory.growth(runs, resident, LEAK, unseen=UNSEEN).verdict is Verdict.PASSED


@given(st.integers(30, 4000), st.floats(1.01, 50), st.floats(0, 1))
def test_a_hidden_leak_never_passes(inferences: int, rate: float, share: float) -> None:
    """A leak over the limit never passes, even if it first fills memory that the readings include already."""
    runs = np.linspace(0, inferences, 60)
    leaked = runs / 1000 * rate * MIB
    shown = np.maximum(leaked - share * UNSEEN, 0)
    judgement = memory.growth(runs, 50 * MIB + shown, LEAK, unseen=UNSEEN)
    assert judgement.verdict is not Verdict.PASSED


def test_growth_during_warm_up_is_not_a_leak() -> None:
    """Memory that grows in the first half and then stays does not count."""
    resident = 50 * MIB + np.minimum(RUNS, 800) * 0.1 * MIB
    assert memory.growth(RUNS, resident, LEAK, unseen=UNSEEN).verdict is Verdict.PASSED


def test_a_leak_fails() -> None:
    """Growth of 2 MiB in 1,000 inferences exceeds a limit of 1 MiB, also with jitter."""
    resident = 50 * MIB + RUNS / 1000 * 2 * MIB + np.random.default_rng(0).normal(0, 4096, RUNS.size)
    judgement = memory.growth(RUNS, resident, LEAK, unseen=UNSEEN)
    assert judgement.verdict is Verdict.FAILED
    assert judgement.measurement is not None
    assert judgement.measurement.value == pytest.approx(2 * MIB, rel=0.02)


def test_a_buffer_that_is_allocated_late_is_no_proven_leak() -> None:
    """One increase of 700 KiB in the later half of 300 inferences does not fail."""
    runs = np.arange(0, 301, 3)
    resident = 50 * MIB + np.where(runs >= 215, 700 * 1024, 0) + np.where(runs >= 240, 40 * 1024, 0)
    assert memory.growth(runs, resident, LEAK, unseen=UNSEEN).verdict is Verdict.INCONCLUSIVE


@given(st.integers(5, 40), st.integers(0, 1000))
def test_a_leak_in_several_steps_fails(steps: int, seed: int) -> None:
    """A leak of 20 times the limit fails, even if it grows in a few large steps."""
    jitter = np.random.default_rng(seed).normal(0, 2048, RUNS.size)
    resident = 50 * MIB + np.floor(RUNS / 1000 * steps) * 20 * MIB / steps + jitter
    assert memory.growth(RUNS, resident, LEAK, unseen=UNSEEN).verdict is Verdict.FAILED


def test_a_small_step_passes_by_its_size() -> None:
    """One step of 100 KiB passes, since its size bounds the growth."""
    resident = np.where(RUNS > 1500, 50 * MIB + 100 * 1024, 50 * MIB)
    assert memory.growth(RUNS, resident, LEAK, unseen=UNSEEN).verdict is Verdict.PASSED


def test_one_large_step_does_not_pass() -> None:
    """A leak in rare large steps does not pass."""
    resident = np.where(RUNS > 1500, 54 * MIB, 50 * MIB)
    assert memory.growth(RUNS, resident, LEAK, unseen=UNSEEN).verdict is not Verdict.PASSED


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
def test_an_unusable_soak_never_passes(runs: np.ndarray, resident: np.ndarray) -> None:
    """Too few or unreadable readings, or counts of inferences that do not increase, are inconclusive."""
    assert memory.growth(runs, resident, LEAK, unseen=UNSEEN).verdict is Verdict.INCONCLUSIVE


def test_a_soak_is_repeated_where_a_longer_one_may_change_its_verdict() -> None:
    """A longer soak follows growth beyond the limit, and flat memory only if a longer one can pass; never a pass."""
    flat, grown = np.full(RUNS.size, 64 * MIB), 64 * MIB + 4096.0 * (RUNS > 1500)
    limit = at_most(1024.0, memory.GROWTH_UNIT)
    needed = memory.fewest_to_pass(limit, has_device=False)
    assert needed is not None
    short = memory.growth(RUNS, flat, limit, unseen=UNSEEN)
    assert memory.worth_repeating(short, limit, needed, has_device=False)
    assert not memory.worth_repeating(short, limit, needed - 1, has_device=False)
    stepped = memory.growth(RUNS, grown, limit, unseen=UNSEEN)
    assert memory.worth_repeating(stepped, limit, needed - 1, has_device=False)
    assert not memory.worth_repeating(memory.growth(RUNS, flat, LEAK, unseen=UNSEEN), LEAK, 1e9, has_device=False)


def test_a_soak_that_ended_early_is_inconclusive() -> None:
    """A soak that ended before its least number of inferences does not pass, however large the limit."""
    limit = at_most(1e12, memory.GROWTH_UNIT)
    for fewest, verdict in ((2000, Verdict.PASSED), (2001, Verdict.INCONCLUSIVE)):
        judgement = memory.growth(RUNS, np.full(RUNS.size, 50 * MIB), limit, unseen=UNSEEN, fewest=fewest)
        assert judgement.verdict is verdict


@given(st.floats(0, 4), st.integers(0, 10))
def test_a_passed_soak_grew_less_than_allowed(rate: float, seed: int) -> None:
    """A leak of twice the limit never passes, whatever the noise."""
    noise = np.random.default_rng(seed).normal(0, 64 * 1024, RUNS.size)
    judgement = memory.growth(RUNS, 50 * MIB + RUNS / 1000 * rate * MIB + noise, LEAK, unseen=UNSEEN)
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
def test_growth_stays_within_the_range_of_readings(
    points: int, steps: list[tuple[float, int]], noise: float, seed: int
) -> None:
    """Value and interval are ordered and within the range of the readings, whatever steps memory makes."""
    runs = np.arange(points) * 20.0
    resident = 2.0**34 + np.random.default_rng(seed).normal(0, noise, points)
    for place, size in steps:
        resident[int(place * points) :] += size
    judgement = memory.growth(runs, resident, LEAK, unseen=UNSEEN)
    growth = judgement.measurement
    assert growth is not None
    assert growth.low is not None
    assert growth.high is not None
    second_half = runs[runs >= runs[-1] / 2]
    most = judgement.details["range"] / float(np.ptp(second_half)) * 1000
    assert -most <= growth.low <= growth.value <= most
    assert growth.value <= growth.high <= max(most, judgement.details["smallest_visible"])


@pytest.mark.parametrize(
    ("host", "device", "unified", "includes", "counted"),
    [
        (5.0, 7.0, False, False, 7.0),  # a discrete GPU: its memory alone
        (5.0, 7.0, True, False, 12.0),  # shared: both
        (5.0, 7.0, True, True, 7.0),  # the machine's difference includes the host's part
        (None, 7.0, False, False, 7.0),
        (None, 7.0, True, False, None),
        (5.0, None, False, False, None),
        (5.0, None, True, False, None),
        (5.0, None, True, True, None),
        (5.0, 0.0, True, False, None),
        (5.0, math.nan, False, False, None),
    ],
)
def test_host_memory_never_replaces_device_memory(
    host: float | None, device: float | None, unified: bool, includes: bool, counted: float | None
) -> None:
    """If the device cannot be read there is no footprint, even if the host's memory is known."""
    footprint = memory.footprint(host, device, unified=unified, includes_host=includes)
    assert footprint == counted
    assert counted is not None or memory.peak(footprint, at_most(MIB)).verdict is Verdict.INCONCLUSIVE


def test_a_leak_on_the_device_fails() -> None:
    """Growth of the GPU's memory is a leak, also where host memory stays flat."""
    resident = np.full(RUNS.size, int(50 * MIB))
    device = (500 * MIB + RUNS / 1000 * 2 * MIB).astype(np.int64)
    for unified in (True, False):
        readings = memory.soaked(resident, device, unified=unified)
        assert memory.growth(RUNS, readings, LEAK, unseen=UNSEEN).verdict is Verdict.FAILED


@pytest.mark.parametrize("device", [None, np.zeros(RUNS.size, np.int64), np.ones(3, np.int64)], ids=["none", "0", "3"])
def test_a_soak_without_device_readings_never_passes(device: np.ndarray | None) -> None:
    """A soak is inconclusive if the GPU's memory was not readable throughout."""
    resident = np.full(RUNS.size, int(50 * MIB))
    readings = memory.soaked(resident, device, unified=False)
    assert memory.growth(RUNS, readings, LEAK, unseen=UNSEEN).verdict is Verdict.INCONCLUSIVE
