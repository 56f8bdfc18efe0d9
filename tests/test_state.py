"""The state contract's rules: the source of a disturbance, and that an unread fact never counts as undisturbed."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.config.spec import TargetSpec
from hil.results import Cause, Judgement, Verdict
from hil.state import OF_MEMORY, Contract, Finding, State, fold, judge, of_facts

MHZ = 1_000_000
UNDISTURBED: dict[str, Any] = {
    "power_mode": "MAXN",
    "clocks": {
        "gpu": {"min": 300 * MHZ, "max": 900 * MHZ, "cur": 600 * MHZ, "governor": "nvhost_podgov"},
        "emc": {"min": 200 * MHZ, "max": 3199 * MHZ, "cur": 2133 * MHZ, "governor": None},
        "policy0": {"min": 700 * MHZ, "max": 2200 * MHZ, "cur": 2200 * MHZ, "governor": "schedutil"},
    },
    "locked": False,
    "temperature": {"cpu-thermal": 48.0, "gpu-thermal": 45.0, "tj-thermal": 48.0},
    "throttle": {"cpu-throttle-alert": 0, "gpu-throttle-alert": 0},
    "over_current": {"oc1": 0, "oc2": 2, "oc3": 40},
    "gpu_clients": [],
    "swap_used": 0,
    "memory_available": 4 << 30,
    "not_readable": {},
    "trips": {},
}
DECLARED = Contract(clients_declared=True)
TRIPS = {"gpu-thermal": 65.0, "cpu-thermal": 90.0}
PC: dict[str, Any] = {"power_mode": None, "gpu_clients": None, "locked": None, "not_readable": {"power_mode": "no"}}
PASSED = Judgement(verdict=Verdict.PASSED, reason="it is at most 5 ms")


def state(**changes: Any) -> State:
    """Return the undisturbed state with ``changes``; tables are merged, and ``None`` in a table deletes an entry."""
    facts = json.loads(json.dumps(UNDISTURBED))
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(facts.get(key), dict):
            for name, entry in value.items():
                if isinstance(entry, dict) and isinstance(facts[key].get(name), dict):
                    facts[key][name].update(entry)
                elif entry is None:
                    facts[key].pop(name, None)
                else:
                    facts[key][name] = entry
        else:
            facts[key] = value
    return State.read(facts)


def kinds_of(
    after: State,
    contract: Contract | None = None,
    windows: tuple[dict[str, Any], ...] = (),
    before: State | None = None,
    opened: State | None = None,
) -> list[tuple[str, str]]:
    """Return the kinds and sources of the findings between an undisturbed board, or ``before``, and ``after``."""
    findings = judge(contract or Contract(), before or state(), windows, after, opened)
    return sorted({(finding.kind, finding.source) for finding in findings})


def test_an_undisturbed_board_and_a_pc_have_no_findings() -> None:
    """There is no finding if nothing changed, nor for an undeclared fact that cannot be read."""
    assert not kinds_of(state(), Contract("MAXN"))
    assert not judge(Contract(), State.read(PC), [], State.read(PC), State.read(PC))
    assert not judge(Contract(), State(), [{}], State())


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"power_mode": "15W"}, "power_mode"),
        ({"power_mode": None}, "power_mode"),
        ({"clocks": {"gpu": {"max": 600 * MHZ}}}, "clocks"),
        ({"clocks": {"gpu": {"min": 900 * MHZ}}}, "clocks"),
        ({"clocks": {"emc": {"max": 2133 * MHZ}}}, "clocks"),
        ({"clocks": {"policy0": {"max": 1100 * MHZ}}}, "clocks"),
        ({"clocks": {"policy0": {"governor": "powersave"}}}, "clocks"),
        ({"clocks": {"policy0": {"governor": None}}}, "clocks"),
        ({"clocks": {"policy0": None}}, "clocks"),
        ({"clocks": {"policy4": {"min": 1, "max": 2}}}, "clocks"),
        ({"clocks": {"gpu": {"max": None}}}, "clocks"),
        ({"throttle": {"gpu-throttle-alert": 1}}, "throttle"),
        ({"throttle": {"gpu-throttle-alert": None}}, "throttle"),
        ({"throttle": {"never-seen-throttle-alert": 1}}, "throttle"),
        ({"over_current": {"oc1": 1}}, "over_current"),
        ({"over_current": {"oc2": 3}}, "over_current"),
        ({"over_current": {"oc3": 3}}, "over_current"),
        ({"over_current": {"oc1": None}}, "over_current"),
        ({"gpu_clients": [{"pid": 7, "name": "gnome-shell", "bytes": 1}]}, "gpu_clients"),
        ({"gpu_clients": None}, "gpu_clients"),
        ({"swap_used": (1 << 20) + 1}, "swap"),
        ({"swap_used": None}, "swap"),
    ],
)
def test_each_disturbance_is_from_outside(changes: dict[str, Any], kind: str) -> None:
    """A change that the model did not cause, and a fact that became unreadable, are from outside."""
    after = state(**changes)
    assert kinds_of(after, DECLARED) == [(kind, "outside")]
    folded = fold(PASSED, judge(DECLARED, state(), [], after))
    assert folded.verdict is Verdict.INCONCLUSIVE
    assert PASSED.reason in folded.reason


def test_an_unreadable_governor_is_named() -> None:
    """A governor that can no longer be read is reported as unreadable, not as changed."""
    after = state(clocks={"policy0": {"governor": None}})
    texts = [finding.text for finding in judge(DECLARED, state(), [], after)]
    assert texts == ["the policy0 governor could no longer be read"]


@pytest.mark.parametrize("changes", [{"swap_used": 1 << 20}, {"memory_available": 0}, {"temperature": {"x": 90.0}}])
def test_changes_that_are_no_disturbance(changes: dict[str, Any]) -> None:
    """1 MiB of swap, memory that the engine uses, and heat without throttling are not a disturbance."""
    assert not kinds_of(state(**changes))


def test_an_undeclared_power_mode_is_a_finding() -> None:
    """A power mode other than the declared one is a finding even if it never changed."""
    assert kinds_of(state(), Contract("15W")) == [("power_mode", "outside")]
    assert "was MAXN, not 15W" in judge(Contract("15W"), state(), [], state())[0].text


@pytest.mark.parametrize(
    ("contract", "kind"),
    [
        (Contract(power_mode="MAXN"), "power_mode"),
        (Contract(clocks="locked"), "clocks"),
        (Contract(clients_declared=True), "gpu_clients"),
        (Contract(gpu_clients=("Xorg",), clients_declared=True), "gpu_clients"),
    ],
)
def test_an_unreadable_declared_fact_is_a_finding(contract: Contract, kind: str) -> None:
    """A declared fact that cannot be read is a finding from outside."""
    findings = judge(contract, State.read(PC), [], State.read(PC))
    assert {(finding.kind, finding.source) for finding in findings} == {(kind, "outside")}
    assert all("cannot be" in finding.text for finding in findings)


def test_an_empty_list_of_clients_is_a_declaration() -> None:
    """``gpu_clients = []`` declares that no other process uses the GPU; without the key nothing is declared."""
    assert Contract.of(TargetSpec(gpu_clients=())).clients_declared
    assert not Contract.of(TargetSpec()).clients_declared


def test_clients_are_allowed_by_name() -> None:
    """Clients are matched by the first 15 letters of their names, because the kernel stores no more."""
    clients = [{"pid": 1, "name": "Xorg", "bytes": 5}, {"pid": 2, "name": "gnome-remote-de", "bytes": 5}]
    allowed = Contract(gpu_clients=("Xorg", "gnome-remote-desktop"), clients_declared=True)
    same = state(gpu_clients=clients)
    assert not kinds_of(same, allowed, before=same)
    other = Contract(gpu_clients=("Xo", "gnome-remote-d"), clients_declared=True)
    assert kinds_of(same, other, before=same) == [("gpu_clients", "outside")]
    nameless = state(gpu_clients=[{"pid": 3, "name": None, "bytes": 5}])
    assert not kinds_of(nameless)
    assert kinds_of(nameless, allowed) == [("gpu_clients", "outside")]


def test_undeclared_clients_are_reported() -> None:
    """Without a declaration, GPU clients are only listed in the details; an empty declared list forbids them."""
    desktop = state(gpu_clients=[{"pid": 1, "name": "Xorg", "bytes": 5}])
    folded = fold(PASSED, judge(Contract(), desktop, [], desktop))
    assert (folded.verdict, folded.reason) == (Verdict.PASSED, PASSED.reason)
    assert [(finding["source"], "Xorg" in finding["text"]) for finding in folded.details["state"]] == [("noted", True)]
    assert kinds_of(desktop, DECLARED, before=desktop) == [("gpu_clients", "outside")]
    assert kinds_of(state(gpu_clients=None), Contract()) == [("gpu_clients", "noted")]


@pytest.mark.parametrize(
    ("spec", "before", "kind"),
    [
        ({"start_below": 48.0}, {}, "temperature"),
        ({"start_below": 60.0}, {"temperature": None}, "temperature"),
        ({"free_memory": 8 << 30}, {}, "memory"),
        ({"free_memory": 1 << 20}, {"memory_available": None}, "memory"),
        ({"free_memory": 6 << 30, "reserve_memory": 1 << 30}, {}, "memory"),
    ],
)
def test_conditions_at_the_start(spec: dict[str, Any], before: dict[str, Any], kind: str) -> None:
    """A start that is too hot, has too little memory, or is unreadable is a finding from outside."""
    first = state(**before)
    assert kinds_of(first, Contract(**spec), before=first) == [(kind, "outside")]
    assert not kinds_of(state(temperature={"gpu-thermal": 90.0}), Contract(start_below=48.1))


def test_reserved_memory_counts_as_free() -> None:
    """Memory that the contract reserves counts as free; a saved contract equals the config's."""
    contract = Contract.of(
        TargetSpec.model_validate({"free_memory": "5 GiB", "reserve_memory": "1 GiB", "start_below": "60 °C"})
    )
    assert not kinds_of(state(), contract)
    assert Contract.read(json.loads(json.dumps(contract.plain()))) == contract


def test_clocks_that_are_declared_locked() -> None:
    """Declared locked clocks must be locked before and after the window."""
    fixed = state(locked=True)
    assert not kinds_of(fixed, Contract(clocks="locked"), before=fixed)
    assert kinds_of(state(), Contract(clocks="locked"), before=fixed) == [("clocks", "outside")]


FIXED = {"gpu": {"min": 900 * MHZ, "cur": 900 * MHZ}, "policy0": {"min": 2200 * MHZ}}


@pytest.mark.parametrize("column", ["clock.gpu", "clock.policy0"])
def test_one_sample_below_the_lock_is_a_finding(column: str) -> None:
    """One sample below a locked clock is a finding; zero means a suspended part and is not a finding."""
    fixed, contract = state(locked=True, clocks=FIXED), Contract(clocks="locked")
    top = 900 * MHZ if column == "clock.gpu" else 2200 * MHZ
    low = {column: [top] * 50 + [top * 0.98] + [top] * 50}
    assert kinds_of(fixed, contract, (low,), before=fixed) == [("clocks", "outside")]
    assert not kinds_of(fixed, contract, ({column: [top, 0, None, top * 0.995]},), before=fixed)
    assert not kinds_of(fixed, Contract(), (low,), before=fixed)


@pytest.mark.parametrize("column", ["limit.gpu.min", "limit.gpu.max", "limit.policy0.max"])
def test_a_temporary_change_of_a_clocks_limit_is_a_finding(column: str) -> None:
    """A limit that differs only in the samples is a finding; the model's own heat can only lower the maximum."""
    window = {column: [900 * MHZ, None, 600 * MHZ, 900 * MHZ]}
    assert kinds_of(state(), windows=(window,)) == [("clocks", "outside")]
    assert not kinds_of(state(), windows=({column: [900 * MHZ, None, 900 * MHZ]},))
    own = "outside" if column.endswith("min") else "own"
    assert ("clocks", own) in kinds_of(hot(), windows=(window,))
    assert ("clocks", "outside") in kinds_of(hot(), windows=({column: [600 * MHZ, 900 * MHZ]},))


def test_an_unreadable_memory_clock_is_reported() -> None:
    """If GPU and CPU clocks are locked, an unreadable memory clock is listed and changes no verdict."""
    fixed = state(locked=True, clocks=FIXED, not_readable={"clocks.emc": "no cap"})
    findings = judge(Contract(clocks="locked"), fixed, [], fixed)
    assert [(finding.source, "no cap" in finding.text) for finding in findings] == [("noted", True)]
    assert fold(PASSED, findings).verdict is Verdict.PASSED


def hot(**changes: Any) -> State:
    """Return a state with an active alert of the GPU, whose temperature is 20 °C higher."""
    up = {"throttle": {"gpu-throttle-alert": 1}, "temperature": {"gpu-thermal": 65.0}}
    return state(**{**up, **changes})


def test_throttling_by_the_models_own_heat_changes_no_verdict() -> None:
    """Throttling while the measured load heats the board is reported as the model's own; the verdict stays."""
    assert kinds_of(hot()) == [("throttle", "own")]
    folded = fold(PASSED, judge(Contract(), state(), [], hot()))
    assert folded.verdict is Verdict.PASSED
    assert (
        "caused by the model itself: gpu-throttle-alert became active as gpu-thermal went from 45.0 to 65.0 °C"
        in folded.reason
    )


def test_throttling_without_heat_is_from_outside() -> None:
    """Throttling is from outside if the alert's own zone did not become hotter; half a degree does not count."""
    assert kinds_of(hot(temperature={"gpu-thermal": 45.4, "cpu-thermal": 90.0})) == [("throttle", "outside")]
    text = judge(Contract(), state(), [], hot(temperature={"gpu-thermal": 45.0}))[0].text
    assert "did not become hotter" in text


def test_throttling_of_unknown_heat_is_from_outside() -> None:
    """Throttling without a known temperature is from outside."""
    bare = dataclasses.replace(state(), temperature={})
    assert kinds_of(dataclasses.replace(hot(), temperature={}), before=bare) == [("throttle", "outside")]


def test_an_alert_without_its_own_zone_is_judged_by_the_hottest() -> None:
    """An alert without a zone of its name is judged by the hottest zone; a zone at a constant 100 °C is ignored."""
    before = state(throttle={"cv0-throttle-alert": 0}, temperature={"PMIC-Die": 100.0})
    after = state(throttle={"cv0-throttle-alert": 1}, temperature={"PMIC-Die": 100.0, "tj-thermal": 60.0})
    assert before.hottest() == ("tj-thermal", 48.0)
    assert kinds_of(after, before=before) == [("throttle", "own")]


def test_an_alert_from_before_is_from_outside() -> None:
    """An alert that was active before the first inference is from outside."""
    assert kinds_of(hot(), before=hot()) == [("throttle", "outside")]


def test_a_temporary_alert_is_detected_in_the_samples() -> None:
    """An alert that is active only in the telemetry between the readings is a finding."""
    window = {"throttle.gpu-throttle-alert": [0, None, 1, 0], "temperature.gpu-thermal": [45.0, 48.0]}
    assert kinds_of(state(), windows=(window,)) == [("throttle", "own")]
    still = {"throttle.gpu-throttle-alert": [0, 1, 0], "temperature.gpu-thermal": [45.0, 45.0]}
    assert kinds_of(state(), windows=(still,)) == [("throttle", "outside")]


@pytest.mark.parametrize(
    ("trips", "heat", "source"),
    [
        ({}, 2.9, "outside"),
        ({}, 3.0, "own"),
        (TRIPS, 10.0, "outside"),
        (TRIPS, 15.0, "own"),
        ({"gpu-thermal": 45.2}, 0.4, "outside"),
        ({"cpu-thermal": 46.0}, 2.0, "outside"),
    ],
)
def test_own_heat_is_near_where_the_kernel_throttles(trips: dict[str, float], heat: float, source: str) -> None:
    """Throttling is the model's own near the zone's trip point (5 °C) or, without one, after a rise of 3 °C."""
    before = state(trips=trips)
    after = hot(temperature={"gpu-thermal": 45.0 + heat})
    assert kinds_of(after, before=before) == [("throttle", source)]


def test_heat_after_the_alert_did_not_raise_it() -> None:
    """An alert on a cool board is from outside, even if the board becomes hot later."""
    column = {"throttle.gpu-throttle-alert": [0, 1, 1, 0], "temperature.gpu-thermal": [45.0, 45.0, 80.0, 80.0]}
    assert kinds_of(state(temperature={"gpu-thermal": 80.0}), windows=(column,)) == [("throttle", "outside")]
    other = {"throttle.gpu-throttle-alert": [0, 0, 0, 1], "temperature.gpu-thermal": [45.0, 80.0, 60.0, 60.0]}
    assert kinds_of(state(), windows=(other,)) == [("throttle", "own")]
    assert kinds_of(state(), windows=(other, column)) == [("throttle", "own")]


@pytest.mark.parametrize("alert", ["devfreq-17000000.gpu", "cpufreq-cpu0", "thermal-cpufreq-0"])
def test_a_cap_is_judged_by_the_zone_of_its_part(alert: str) -> None:
    """A cap of the GPU or CPU is judged by the temperature of its own zone."""
    zone, other = ("gpu", "cpu") if "gpu" in alert else ("cpu", "gpu")
    before, up = state(throttle={alert: 0}), {alert: 2}
    own = state(throttle=up, temperature={f"{zone}-thermal": 80.0})
    assert kinds_of(own, before=before) == [("throttle", "own")]
    not_own = state(throttle=up, temperature={f"{other}-thermal": 80.0})
    assert kinds_of(not_own, before=before) == [("throttle", "outside")]


def test_an_alert_between_two_windows_is_a_finding() -> None:
    """An alert that is active only in a reading around a window is a finding."""
    up = {**UNDISTURBED, "throttle": {**UNDISTURBED["throttle"], "gpu-throttle-alert": 1}}
    windows = (
        {"state": {"before": UNDISTURBED, "after": up}},
        {"state": {"before": UNDISTURBED, "after": UNDISTURBED}},
    )
    assert kinds_of(state(), windows=windows) == [("throttle", "outside")]


@pytest.mark.parametrize(
    ("first", "second", "kinds"),
    [
        (0x0, 0x1 | 0x2 | 0x4, []),
        (0x0, 0x20, [("throttle", "own")]),
        (0x0, 0x40 | 0x8, [("throttle", "own")]),
        (0x0, 0x80, [("throttle", "outside")]),
        (0x0, 0x8, [("throttle", "outside")]),
        (0x0, 0x8 | 0x20, [("throttle", "outside"), ("throttle", "own")]),
        (0x0, 0x80 | 0x40, [("throttle", "outside"), ("throttle", "own")]),
        (0x40, 0x40, [("throttle", "outside")]),
        (0x8, 0x0, [("throttle", "outside")]),
    ],
)
def test_nvml_throttle_bits(first: int, second: int, kinds: list[tuple[str, str]]) -> None:
    """Idle and power caps are not throttling; a power brake and a slowdown without heat are from outside."""
    before = state(temperature={"gpu": 50.0, "gpu-thermal": None})
    column = {"throttle.gpu": [None, first, second], "temperature.gpu": [50.0, 50.0, 88.0]}
    assert kinds_of(before, windows=(column,), before=before) == kinds
    cool = {"throttle.gpu": [0, second], "temperature.gpu": [50.0, 50.0]}
    assert ("throttle", "own") not in kinds_of(before, windows=(cool,), before=before)


@pytest.mark.parametrize(
    ("name", "kind"), [("throttle.gpu-throttle-alert", "throttle"), ("over_current.oc1", "over_current")]
)
def test_a_fact_that_became_unreadable_is_a_finding(name: str, kind: str) -> None:
    """A fact that was readable at the start, in another window or in earlier samples must stay readable."""
    gone = state(**{kind: {name.partition(".")[2]: None}})
    assert kinds_of(gone, before=gone, opened=state()) == [(kind, "outside")]
    for window in ({name: [0, 0, None]}, {name: [None]}, {"not_readable": {name: "gave no reading"}}):
        assert kinds_of(state(), windows=(window,)) == [(kind, "outside")]
    assert kinds_of(state(), windows=({name: [0]}, {"t": [0.0]})) == [(kind, "outside")]
    assert not kinds_of(state(), windows=({name: [0, None, 0]}, {"t": [0.0], name: [0]}))
    bare = State.read(PC)
    assert not judge(Contract(), bare, [{"not_readable": {name: "x"}}], bare, bare)


@pytest.mark.parametrize(
    "readings", [{}, {"before": UNDISTURBED}, {"after": UNDISTURBED}, {"before": UNDISTURBED, "after": None}, None]
)
def test_a_window_without_readings_is_a_finding(readings: Any) -> None:
    """A window without readings is a finding if other windows have them."""
    full = {"state": {"before": UNDISTURBED, "after": UNDISTURBED}}
    assert ("state", "outside") in kinds_of(state(), windows=(full, {"state": readings}))
    assert not kinds_of(state(), windows=({}, {}))


def test_a_maximum_clock_lowered_by_own_heat_is_own() -> None:
    """Own heat explains a lowered maximum of the GPU's clock; a raised one, or the memory's, is from outside."""
    assert kinds_of(hot(clocks={"gpu": {"max": 600 * MHZ}})) == [("clocks", "own"), ("throttle", "own")]
    assert ("clocks", "outside") in kinds_of(hot(clocks={"gpu": {"max": 1300 * MHZ}}))
    assert ("clocks", "outside") in kinds_of(hot(clocks={"emc": {"max": 600 * MHZ}}))


def test_a_gpu_below_its_minimum_clock_is_a_finding() -> None:
    """A window below the GPU's minimum clock is a finding; zero (a suspended GPU) and one low sample are not."""
    assert kinds_of(state(), windows=({"clock.gpu": [150 * MHZ] * 5 + [0, None]},)) == [("clocks", "outside")]
    assert not kinds_of(state(), windows=({"clock.gpu": [0, 150 * MHZ, 300 * MHZ, 300 * MHZ]},))
    assert ("clocks", "own") in kinds_of(hot(), windows=({"clock.gpu": [150 * MHZ]},))


def test_oc3_events_are_the_models_own() -> None:
    """OC3 events, which are normal in MAXN, are the model's own."""
    assert kinds_of(state(over_current={"oc3": 55})) == [("over_current", "own")]


def test_a_change_before_the_first_window_is_a_finding() -> None:
    """A mode that changed after the session's first reading is a finding, even if it is the same around the window."""
    other = state(power_mode="15W", clocks={"gpu": {"max": 600 * MHZ}})
    assert not kinds_of(other, before=other)
    assert kinds_of(other, before=other, opened=state()) == [("clocks", "outside"), ("power_mode", "outside")]


def test_a_change_between_two_windows_is_a_finding() -> None:
    """A change that was reverted before the end of the series is a finding."""
    window = {"state": {"before": UNDISTURBED, "after": {**UNDISTURBED, "power_mode": "15W"}}}
    assert kinds_of(state(), windows=(window, {"state": {"before": UNDISTURBED, "after": UNDISTURBED}})) == [
        ("power_mode", "outside")
    ]


def test_swap_that_grew_and_shrank_is_a_finding() -> None:
    """The growth of swap is the largest rise between readings."""
    window = {
        "state": {"before": {**UNDISTURBED, "swap_used": 5 << 20}, "after": {**UNDISTURBED, "swap_used": 9 << 20}}
    }
    assert kinds_of(state(swap_used=5 << 20), windows=(window,), before=state(swap_used=5 << 20)) == [
        ("swap", "outside")
    ]


def test_swap_that_grew_before_the_window_is_a_finding() -> None:
    """Swap is compared with the session's first reading, for example if reserving memory filled it."""
    grown = state(swap_used=9 << 20)
    assert not kinds_of(grown, before=grown)
    assert kinds_of(grown, before=grown, opened=state()) == [("swap", "outside")]


def test_a_load_that_ended_by_itself_is_from_outside() -> None:
    """A load that ended early is from outside, because the board was less loaded than declared."""
    window = {"state": {"before": UNDISTURBED, "after": {**UNDISTURBED, "load_ended": ["co_runner was not there"]}}}
    assert kinds_of(state(), windows=(window,)) == [("load", "outside")]


def test_a_saved_series_is_judged_alike() -> None:
    """A series that was saved as JSON gives the same findings; without readings the contract is unconfirmed."""
    contract = Contract("MAXN", "as-deployed", ("Xorg",), clients_declared=True)
    window = {
        "state": {"before": UNDISTURBED, "after": {**UNDISTURBED, "swap_used": 5 << 20}},
        "clock.gpu": [600 * MHZ],
    }
    facts = json.loads(
        json.dumps({"contract": contract.plain(), "opened": UNDISTURBED, "windows": [window], "looks": 1})
    )
    assert Contract.read(facts["contract"]) == contract
    assert [finding.kind for finding in of_facts(facts)] == ["swap"]
    del facts["windows"][0]["state"]
    assert "cannot be confirmed" in of_facts(facts)[0].text
    assert of_facts({"windows": []}) == []


def test_a_row_without_a_verdict_gets_none() -> None:
    """A disturbance does not judge a row without a limit; disturbances of time do not affect a memory row."""
    judgement = Judgement(verdict=Verdict.NOT_RUN, reason="no limit", cause=Cause.NO_LIMIT)
    disturbed = fold(judgement, [Finding("swap", "outside", "swap grew")])
    assert (disturbed.verdict, disturbed.cause) == (Verdict.NOT_RUN, Cause.NO_LIMIT)
    assert "swap grew" in disturbed.reason
    assert fold(PASSED, [Finding("throttle", "outside", "x")], OF_MEMORY) == PASSED


def test_a_disturbed_failure_is_inconclusive() -> None:
    """A failure under a disturbance from outside is inconclusive; under the model's own heat it is a failure."""
    failed = Judgement(verdict=Verdict.FAILED, reason="it is not at most 5 ms")
    assert fold(failed, [Finding("swap", "outside", "swap grew")]).verdict is Verdict.INCONCLUSIVE
    assert fold(failed, [Finding("throttle", "own", "hot")]).verdict is Verdict.FAILED


def tables(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Generate tables with a board's names, and one unknown name."""
    names = st.sampled_from(["gpu", "emc", "policy0", "gpu-throttle-alert", "oc1", "oc3", "gpu-thermal", "other"])
    return st.dictionaries(names, values, max_size=4)


NUMBERS = st.one_of(st.none(), st.integers(-2, 10**10), st.floats(allow_nan=True), st.text(max_size=3), st.booleans())
READINGS = st.fixed_dictionaries(
    {},
    optional={
        "power_mode": st.one_of(st.none(), st.sampled_from(["MAXN", "15W", ""]), st.integers()),
        "clocks": st.one_of(st.none(), tables(tables(NUMBERS)), NUMBERS),
        "locked": st.one_of(st.none(), st.booleans(), st.text(max_size=2)),
        "temperature": st.one_of(st.none(), tables(NUMBERS)),
        "throttle": st.one_of(st.none(), tables(NUMBERS)),
        "over_current": st.one_of(st.none(), tables(NUMBERS)),
        "gpu_clients": st.one_of(st.none(), st.lists(st.one_of(NUMBERS, tables(NUMBERS)), max_size=3)),
        "swap_used": NUMBERS,
        "trips": st.one_of(st.none(), tables(NUMBERS)),
        "not_readable": st.one_of(st.none(), tables(st.text(max_size=3))),
    },
)
CONTRACTS = st.builds(
    Contract,
    st.sampled_from([None, "MAXN"]),
    st.sampled_from(["as-deployed", "locked"]),
    st.sampled_from([(), ("Xorg",)]),
    st.booleans(),
    st.sampled_from([None, 60.0]),
    st.sampled_from([None, 1 << 30]),
)
COLUMNS = st.dictionaries(
    st.sampled_from(
        ["throttle.gpu", "throttle.x", "temperature.gpu", "over_current.oc1", "clock.gpu", "limit.gpu.max"]
    ),
    st.one_of(NUMBERS, st.lists(NUMBERS, max_size=3), tables(NUMBERS)),
    max_size=4,
)


@given(CONTRACTS, READINGS, st.lists(COLUMNS, max_size=2), READINGS)
def test_any_reading_is_judged(contract: Contract, before: Any, windows: list[Any], after: Any) -> None:
    """Any readings of an agent give findings with a text, never an error."""
    findings = judge(contract, State.read(before), windows, State.read(after), State.read(after))
    assert all(finding.text and finding.source in {"own", "outside", "noted"} for finding in findings)


@given(CONTRACTS, READINGS, READINGS, st.sampled_from(["power_mode", "locked", "gpu_clients", "swap_used"]))
def test_an_unread_fact_never_improves_a_verdict(contract: Contract, before: Any, after: Any, key: str) -> None:
    """Removing a fact from the last reading never makes an inconclusive row conclusive."""
    first, last = State.read(before), State.read(after)
    changes: dict[str, Any] = {key: None}
    blind = dataclasses.replace(last, **changes)
    full = {finding.kind for finding in judge(contract, first, [], last) if finding.source == "outside"}
    less = {finding.kind for finding in judge(contract, first, [], blind) if finding.source == "outside"}
    known = getattr(first, key) is not None
    assert full <= less or not known


@given(
    st.lists(st.sampled_from([0, 1]), min_size=1, max_size=6),
    st.lists(st.sampled_from([45.0, 46.0, 50.0, 62.0, 80.0]), min_size=6, max_size=6),
    st.sampled_from([{}, TRIPS]),
    st.integers(0, 5),
)
def test_an_earlier_alert_stays_from_outside(
    alerts: list[int], heat: list[float], trips: dict[str, float], at: int
) -> None:
    """A further active sample may add a disturbance; it never turns one from outside into the model's own."""
    before = state(trips=trips)
    column = {"throttle.gpu-throttle-alert": alerts, "temperature.gpu-thermal": heat[: len(alerts)]}
    more = {**column, "throttle.gpu-throttle-alert": [*alerts[: at % len(alerts)], 1, *alerts[at % len(alerts) + 1 :]]}
    less = kinds_of(before, windows=(column,), before=before)
    assert ("throttle", "outside") not in less or ("throttle", "outside") in kinds_of(before, None, (more,), before)


@given(
    st.lists(
        st.sampled_from(
            [
                {"power_mode": "15W"},
                {"clocks": {"gpu": {"min": 900 * MHZ}}},
                {"clocks": {"emc": {"max": 1}}},
                {"clocks": {"policy0": None}},
                {"throttle": {"cpu-throttle-alert": 1}},
                {"over_current": {"oc1": 9}},
                {"gpu_clients": [{"pid": 1, "name": "x", "bytes": 1}]},
                {"swap_used": 9 << 20},
            ]
        ),
        min_size=1,
        max_size=6,
    ),
    st.booleans(),
    st.sampled_from([Verdict.PASSED, Verdict.WARNED, Verdict.FAILED, Verdict.INCONCLUSIVE]),
)
def test_more_disturbances_never_improve_a_verdict(
    changes: list[dict[str, Any]], heated: bool, verdict: Verdict
) -> None:
    """After a disturbance from outside, neither further disturbances nor own heat make a row conclusive again."""
    merged: dict[str, Any] = {}
    judgement = Judgement(verdict=verdict, reason="as measured")
    for change in changes:
        for key, value in change.items():
            merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
        if heated and "throttle" not in merged:
            merged["throttle"], merged["temperature"] = {"gpu-throttle-alert": 1}, {"gpu-thermal": 65.0}
        findings = judge(Contract("MAXN", clients_declared=True), state(), [], state(**merged))
        assert fold(judgement, findings).verdict is Verdict.INCONCLUSIVE
