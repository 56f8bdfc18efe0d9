"""The state contract's rules: who is to blame for a disturbance, and that nothing unread counts as undisturbed."""

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
CALM: dict[str, Any] = {
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
    """The calm board with ``changes``; a table is merged into, and ``None`` in it takes an entry out."""
    told = json.loads(json.dumps(CALM))
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(told.get(key), dict):
            for name, entry in value.items():
                if isinstance(entry, dict) and isinstance(told[key].get(name), dict):
                    told[key][name].update(entry)
                elif entry is None:
                    told[key].pop(name, None)
                else:
                    told[key][name] = entry
        else:
            told[key] = value
    return State.read(told)


def kinds_of(
    after: State,
    contract: Contract | None = None,
    windows: tuple[dict[str, Any], ...] = (),
    before: State | None = None,
    opened: State | None = None,
) -> list[tuple[str, str]]:
    """Return the kinds and sources of the findings between an undisturbed board, or ``before``, and ``after``."""
    findings = judge(contract or Contract(), before or state(), windows, after, opened)
    return sorted({(one.kind, one.source) for one in findings})


def test_a_calm_board_and_a_pc_give_nothing() -> None:
    """Nothing changed, and what is neither declared nor readable has nothing to say."""
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
    """Whatever the model has no part in, and whatever could not be read to the end, is from outside."""
    after = state(**changes)
    assert kinds_of(after, DECLARED) == [(kind, "outside")]
    folded = fold(PASSED, judge(DECLARED, state(), [], after))
    assert folded.verdict is Verdict.INCONCLUSIVE
    assert PASSED.reason in folded.reason


@pytest.mark.parametrize("changes", [{"swap_used": 1 << 20}, {"memory_available": 0}, {"temperature": {"x": 90.0}}])
def test_what_is_no_disturbance(changes: dict[str, Any]) -> None:
    """A MiB of idle pages, memory that the engine takes, and heat that throttles nothing are none."""
    assert not kinds_of(state(**changes))


def test_another_mode_than_declared_is_never_conclusive() -> None:
    """It need not change: having been another one throughout is enough."""
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
def test_what_was_declared_and_cannot_be_read_is_not_confirmed(contract: Contract, kind: str) -> None:
    """Unreadable is never the same as in order."""
    told = judge(contract, State.read(PC), [], State.read(PC))
    assert {(one.kind, one.source) for one in told} == {(kind, "outside")}
    assert all("cannot be" in one.text for one in told)


def test_an_empty_list_of_clients_is_a_declaration() -> None:
    """``gpu_clients = []`` written says that nobody may use the GPU; not written, an unreadable list says nothing."""
    assert Contract.of(TargetSpec(gpu_clients=())).clients_declared
    assert not Contract.of(TargetSpec()).clients_declared


def test_clients_are_allowed_by_name() -> None:
    """The kernel keeps 15 letters of a name, so a longer one in the config stands for its beginning."""
    clients = [{"pid": 1, "name": "Xorg", "bytes": 5}, {"pid": 2, "name": "gnome-remote-de", "bytes": 5}]
    allowed = Contract(gpu_clients=("Xorg", "gnome-remote-desktop"), clients_declared=True)
    same = state(gpu_clients=clients)
    assert not kinds_of(same, allowed, before=same)
    other = Contract(gpu_clients=("Xo", "gnome-remote-d"), clients_declared=True)
    assert kinds_of(same, other, before=same) == [("gpu_clients", "outside")]
    nameless = state(gpu_clients=[{"pid": 3, "name": None, "bytes": 5}])
    assert not kinds_of(nameless)
    assert kinds_of(nameless, allowed) == [("gpu_clients", "outside")]


def test_clients_that_nobody_asked_about_are_told() -> None:
    """A desktop's own are always there: named among the details, and the row counts; an empty list written judges."""
    desktop = state(gpu_clients=[{"pid": 1, "name": "Xorg", "bytes": 5}])
    folded = fold(PASSED, judge(Contract(), desktop, [], desktop))
    assert (folded.verdict, folded.reason) == (Verdict.PASSED, PASSED.reason)
    assert [(one["source"], "Xorg" in one["text"]) for one in folded.details["state"]] == [("told", True)]
    assert kinds_of(desktop, DECLARED, before=desktop) == [("gpu_clients", "outside")]
    assert kinds_of(state(gpu_clients=None), Contract()) == [("gpu_clients", "told")]


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
def test_what_was_to_be_so_at_the_start(spec: dict[str, Any], before: dict[str, Any], kind: str) -> None:
    """As hot or as full when timing began as it was not to be, or nobody can tell: nothing is concluded."""
    first = state(**before)
    assert kinds_of(first, Contract(**spec), before=first) == [(kind, "outside")]
    assert not kinds_of(state(temperature={"gpu-thermal": 90.0}), Contract(start_below=48.1))


def test_what_was_reserved_counts_as_free() -> None:
    """It is taken after the memory was found free, by the contract itself; from the config as from a saved series."""
    contract = Contract.of(
        TargetSpec.model_validate({"free_memory": "5 GiB", "reserve_memory": "1 GiB", "start_below": "60 °C"})
    )
    assert not kinds_of(state(), contract)
    assert Contract.read(json.loads(json.dumps(contract.plain()))) == contract


def test_clocks_that_were_to_be_locked() -> None:
    """Locked before and after, or nothing is concluded."""
    fixed = state(locked=True)
    assert not kinds_of(fixed, Contract(clocks="locked"), before=fixed)
    assert kinds_of(state(), Contract(clocks="locked"), before=fixed) == [("clocks", "outside")]


FIXED = {"gpu": {"min": 900 * MHZ, "cur": 900 * MHZ}, "policy0": {"min": 2200 * MHZ}}


@pytest.mark.parametrize("column", ["clock.gpu", "clock.policy0"])
def test_one_sample_below_the_lock_is_a_finding(column: str) -> None:
    """There and back again between the readings: a locked clock never moves; zero is a part that is asleep."""
    fixed, contract = state(locked=True, clocks=FIXED), Contract(clocks="locked")
    top = 900 * MHZ if column == "clock.gpu" else 2200 * MHZ
    low = {column: [top] * 50 + [top * 0.98] + [top] * 50}
    assert kinds_of(fixed, contract, (low,), before=fixed) == [("clocks", "outside")]
    assert not kinds_of(fixed, contract, ({column: [top, 0, None, top * 0.995]},), before=fixed)
    assert not kinds_of(fixed, Contract(), (low,), before=fixed)


@pytest.mark.parametrize("column", ["limit.gpu.min", "limit.gpu.max", "limit.policy0.max"])
def test_a_limit_that_changed_there_and_back_is_found(column: str) -> None:
    """The readings around the window agree, and its samples do not; own heat only lowers the highest."""
    window = {column: [900 * MHZ, None, 600 * MHZ, 900 * MHZ]}
    assert kinds_of(state(), windows=(window,)) == [("clocks", "outside")]
    assert not kinds_of(state(), windows=({column: [900 * MHZ, None, 900 * MHZ]},))
    own = "outside" if column.endswith("min") else "own"
    assert ("clocks", own) in kinds_of(hot(), windows=(window,))
    assert ("clocks", "outside") in kinds_of(hot(), windows=({column: [600 * MHZ, 900 * MHZ]},))


def test_a_memory_clock_that_nobody_can_tell_of_is_told() -> None:
    """Locked by GPU and CPU clocks: the row counts, and what is not known is among its details."""
    fixed = state(locked=True, clocks=FIXED, not_readable={"clocks.emc": "no cap"})
    findings = judge(Contract(clocks="locked"), fixed, [], fixed)
    assert [(one.source, "no cap" in one.text) for one in findings] == [("told", True)]
    assert fold(PASSED, findings).verdict is Verdict.PASSED


def hot(**changes: Any) -> State:
    """The GPU's alert is up and the GPU 20 °C hotter."""
    up = {"throttle": {"gpu-throttle-alert": 1}, "temperature": {"gpu-thermal": 65.0}}
    return state(**{**up, **changes})


def test_throttling_by_the_models_own_heat_counts_against_it() -> None:
    """It got hotter under the load that was timed: told, and the verdict is as it was."""
    assert kinds_of(hot()) == [("throttle", "own")]
    folded = fold(PASSED, judge(Contract(), state(), [], hot()))
    assert folded.verdict is Verdict.PASSED
    assert (
        "the model's own doing: gpu-throttle-alert became active as gpu-thermal went from 45.0 to 65.0 °C"
        in folded.reason
    )


def test_throttling_without_heat_is_from_outside() -> None:
    """The zone of the same name decides, though another got hotter; half a degree is the sensors' own step."""
    assert kinds_of(hot(temperature={"gpu-thermal": 45.4, "cpu-thermal": 90.0})) == [("throttle", "outside")]
    text = judge(Contract(), state(), [], hot(temperature={"gpu-thermal": 45.0}))[0].text
    assert "although it did not become hotter" in text


def test_throttling_of_unknown_heat_is_from_outside() -> None:
    """Without a temperature nobody can say whose it is."""
    bare = dataclasses.replace(state(), temperature={})
    assert kinds_of(dataclasses.replace(hot(), temperature={}), before=bare) == [("throttle", "outside")]


def test_an_alert_without_a_zone_of_its_name_looks_at_the_hottest() -> None:
    """A placeholder that always shows 100 °C is not the hottest."""
    before = state(throttle={"cv0-throttle-alert": 0}, temperature={"PMIC-Die": 100.0})
    after = state(throttle={"cv0-throttle-alert": 1}, temperature={"PMIC-Die": 100.0, "tj-thermal": 60.0})
    assert before.hottest() == ("tj-thermal", 48.0)
    assert kinds_of(after, before=before) == [("throttle", "own")]


def test_an_alert_that_was_up_before_is_from_outside() -> None:
    """What throttles before the first inference was not heated by it."""
    assert kinds_of(hot(), before=hot()) == [("throttle", "outside")]


def test_an_alert_that_came_and_went_is_seen_in_the_samples() -> None:
    """The readings before and after are calm; the telemetry between them is not."""
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
    """Within 5 °C of the zone's own trip point; where that is not known, by 3 °C at least; and hotter than before."""
    before = state(trips=trips)
    after = hot(temperature={"gpu-thermal": 45.0 + heat})
    assert kinds_of(after, before=before) == [("throttle", source)]


def test_heat_after_the_alert_did_not_raise_it() -> None:
    """The kernel throttled a cool board; that it got hot later does not make it the model's doing."""
    column = {"throttle.gpu-throttle-alert": [0, 1, 1, 0], "temperature.gpu-thermal": [45.0, 45.0, 80.0, 80.0]}
    assert kinds_of(state(temperature={"gpu-thermal": 80.0}), windows=(column,)) == [("throttle", "outside")]
    other = {"throttle.gpu-throttle-alert": [0, 0, 0, 1], "temperature.gpu-thermal": [45.0, 80.0, 60.0, 60.0]}
    assert kinds_of(state(), windows=(other,)) == [("throttle", "own")]
    assert kinds_of(state(), windows=(other, column)) == [("throttle", "own")]


@pytest.mark.parametrize("alert", ["devfreq-17000000.gpu", "cpufreq-cpu0", "thermal-cpufreq-0"])
def test_a_cap_is_judged_by_the_zone_of_its_part(alert: str) -> None:
    """A GPU's by the GPU, a CPU's by the CPU, whichever other zone got hot."""
    zone, other = ("gpu", "cpu") if "gpu" in alert else ("cpu", "gpu")
    before, up = state(throttle={alert: 0}), {alert: 2}
    own = state(throttle=up, temperature={f"{zone}-thermal": 80.0})
    assert kinds_of(own, before=before) == [("throttle", "own")]
    not_own = state(throttle=up, temperature={f"{other}-thermal": 80.0})
    assert kinds_of(not_own, before=before) == [("throttle", "outside")]


def test_an_alert_between_two_windows_is_seen() -> None:
    """Up in a reading around a window, and neither in its samples nor in the first and last reading."""
    up = {**CALM, "throttle": {**CALM["throttle"], "gpu-throttle-alert": 1}}
    windows = ({"state": {"before": CALM, "after": up}}, {"state": {"before": CALM, "after": CALM}})
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
def test_nvml_tells_heat_by_its_bits(first: int, second: int, kinds: list[tuple[str, str]]) -> None:
    """Idle and power caps are no throttling; a power brake, a slowdown not for heat, one from the start: outside."""
    before = state(temperature={"gpu": 50.0, "gpu-thermal": None})
    column = {"throttle.gpu": [None, first, second], "temperature.gpu": [50.0, 50.0, 88.0]}
    assert kinds_of(before, windows=(column,), before=before) == kinds
    cool = {"throttle.gpu": [0, second], "temperature.gpu": [50.0, 50.0]}
    assert ("throttle", "own") not in kinds_of(before, windows=(cool,), before=before)


@pytest.mark.parametrize(
    ("name", "kind"), [("throttle.gpu-throttle-alert", "throttle"), ("over_current.oc1", "over_current")]
)
def test_what_became_unreadable_is_not_silent(name: str, kind: str) -> None:
    """Known at the session's start or in another window, or sampled until it was None: no calm is made of it."""
    gone = state(**{kind: {name.partition(".")[2]: None}})
    assert kinds_of(gone, before=gone, opened=state()) == [(kind, "outside")]
    for window in ({name: [0, 0, None]}, {name: [None]}, {"not_readable": {name: "gave no reading"}}):
        assert kinds_of(state(), windows=(window,)) == [(kind, "outside")]
    assert kinds_of(state(), windows=({name: [0]}, {"t": [0.0]})) == [(kind, "outside")]
    assert not kinds_of(state(), windows=({name: [0, None, 0]}, {"t": [0.0], name: [0]}))
    bare = State.read(PC)
    assert not judge(Contract(), bare, [{"not_readable": {name: "x"}}], bare, bare)


@pytest.mark.parametrize("told", [{}, {"before": CALM}, {"after": CALM}, {"before": CALM, "after": None}, None])
def test_a_window_without_readings_is_found(told: Any) -> None:
    """Where others have them, nobody knows what happened around it."""
    full = {"state": {"before": CALM, "after": CALM}}
    assert ("state", "outside") in kinds_of(state(), windows=(full, {"state": told}))
    assert not kinds_of(state(), windows=({}, {}))


def test_a_highest_clock_that_own_heat_lowered_is_own() -> None:
    """The kernel throttles by lowering it; raised, or the memory's, it is somebody else's doing."""
    assert kinds_of(hot(clocks={"gpu": {"max": 600 * MHZ}})) == [("clocks", "own"), ("throttle", "own")]
    assert ("clocks", "outside") in kinds_of(hot(clocks={"gpu": {"max": 1300 * MHZ}}))
    assert ("clocks", "outside") in kinds_of(hot(clocks={"emc": {"max": 600 * MHZ}}))


def test_a_gpu_below_its_lowest_clock_was_held_back() -> None:
    """Zero is a GPU asleep and no reading; one low sample is none of the window's clock."""
    assert kinds_of(state(), windows=({"clock.gpu": [150 * MHZ] * 5 + [0, None]},)) == [("clocks", "outside")]
    assert not kinds_of(state(), windows=({"clock.gpu": [0, 150 * MHZ, 300 * MHZ, 300 * MHZ]},))
    assert ("clocks", "own") in kinds_of(hot(), windows=({"clock.gpu": [150 * MHZ]},))


def test_bursts_of_current_are_the_models_own() -> None:
    """OC3 counts them in MAXN as a matter of course."""
    assert kinds_of(state(over_current={"oc3": 55})) == [("over_current", "own")]


def test_a_change_between_windows_is_found() -> None:
    """Against the session's first reading: before and after may agree with each other and still be another mode."""
    other = state(power_mode="15W", clocks={"gpu": {"max": 600 * MHZ}})
    assert not kinds_of(other, before=other)
    assert kinds_of(other, before=other, opened=state()) == [("clocks", "outside"), ("power_mode", "outside")]


def test_a_change_between_two_looks_is_found() -> None:
    """Each timed stretch has readings of its own, and there and back again is a change too."""
    window = {"state": {"before": CALM, "after": {**CALM, "power_mode": "15W"}}}
    assert kinds_of(state(), windows=(window, {"state": {"before": CALM, "after": CALM}})) == [
        ("power_mode", "outside")
    ]


def test_swap_that_grew_and_shrank_is_found() -> None:
    """The peak of the readings counts, from the least before it."""
    window = {"state": {"before": {**CALM, "swap_used": 5 << 20}, "after": {**CALM, "swap_used": 9 << 20}}}
    assert kinds_of(state(swap_used=5 << 20), windows=(window,), before=state(swap_used=5 << 20)) == [
        ("swap", "outside")
    ]


def test_swap_that_grew_before_the_window_is_found() -> None:
    """While the reserve was filled, say: against the session's first reading."""
    grown = state(swap_used=9 << 20)
    assert not kinds_of(grown, before=grown)
    assert kinds_of(grown, before=grown, opened=state()) == [("swap", "outside")]


def test_a_load_that_ended_by_itself_is_from_outside() -> None:
    """The board was less loaded than the number says."""
    window = {"state": {"before": CALM, "after": {**CALM, "load_ended": ["co_runner was not there"]}}}
    assert kinds_of(state(), windows=(window,)) == [("load", "outside")]


def test_a_saved_series_is_judged_the_same() -> None:
    """What a series keeps is enough, through JSON; without its readings a contract is not kept."""
    contract = Contract("MAXN", "as-deployed", ("Xorg",), clients_declared=True)
    window = {"state": {"before": CALM, "after": {**CALM, "swap_used": 5 << 20}}, "clock.gpu": [600 * MHZ]}
    facts = json.loads(json.dumps({"contract": contract.plain(), "opened": CALM, "windows": [window], "looks": 1}))
    assert Contract.read(facts["contract"]) == contract
    assert [one.kind for one in of_facts(facts)] == ["swap"]
    del facts["windows"][0]["state"]
    assert "cannot be confirmed" in of_facts(facts)[0].text
    assert of_facts({"windows": []}) == []


def test_a_row_without_a_verdict_keeps_none() -> None:
    """Disturbed or not, what has no limit was not judged; and what disturbs no memory is left out of its rows."""
    judgement = Judgement(verdict=Verdict.NOT_RUN, reason="no limit", cause=Cause.NO_LIMIT)
    disturbed = fold(judgement, [Finding("swap", "outside", "swap grew")])
    assert (disturbed.verdict, disturbed.cause) == (Verdict.NOT_RUN, Cause.NO_LIMIT)
    assert "swap grew" in disturbed.reason
    assert fold(PASSED, [Finding("throttle", "outside", "x")], OF_MEMORY) == PASSED


def test_a_failure_that_a_disturbance_may_explain_is_none() -> None:
    """Slow because of somebody else is not the model's failure, nor a pass."""
    failed = Judgement(verdict=Verdict.FAILED, reason="it is not at most 5 ms")
    assert fold(failed, [Finding("swap", "outside", "swap grew")]).verdict is Verdict.INCONCLUSIVE
    assert fold(failed, [Finding("throttle", "own", "hot")]).verdict is Verdict.FAILED


def tables(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Tables of the names that a board has, and of one that it has not."""
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
    """Whatever an agent tells, judging ends with findings in words, never with an error."""
    told = judge(contract, State.read(before), windows, State.read(after), State.read(after))
    assert all(one.text and one.source in {"own", "outside", "told"} for one in told)


@given(CONTRACTS, READINGS, READINGS, st.sampled_from(["power_mode", "locked", "gpu_clients", "swap_used"]))
def test_not_reading_is_never_better_than_reading(contract: Contract, before: Any, after: Any, key: str) -> None:
    """Taking a fact out of the last reading never turns an inconclusive row into one that counts."""
    first, last = State.read(before), State.read(after)
    changes: dict[str, Any] = {key: None}
    blind = dataclasses.replace(last, **changes)
    full = {one.kind for one in judge(contract, first, [], last) if one.source == "outside"}
    less = {one.kind for one in judge(contract, first, [], blind) if one.source == "outside"}
    known = getattr(first, key) is not None
    assert full <= less or not known


@given(
    st.lists(st.sampled_from([0, 1]), min_size=1, max_size=6),
    st.lists(st.sampled_from([45.0, 46.0, 50.0, 62.0, 80.0]), min_size=6, max_size=6),
    st.sampled_from([{}, TRIPS]),
    st.integers(0, 5),
)
def test_an_alert_that_came_up_earlier_is_never_less_from_outside(
    alerts: list[int], heat: list[float], trips: dict[str, float], at: int
) -> None:
    """Another active sample adds a disturbance; it never makes one from outside the model's own."""
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
def test_more_disturbance_is_never_greener(changes: list[dict[str, Any]], heated: bool, verdict: Verdict) -> None:
    """Once disturbed from outside, no further disturbance and no heat of its own makes a row conclusive again."""
    merged: dict[str, Any] = {}
    judgement = Judgement(verdict=verdict, reason="as measured")
    for change in changes:
        for key, value in change.items():
            merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
        if heated and "throttle" not in merged:
            merged["throttle"], merged["temperature"] = {"gpu-throttle-alert": 1}, {"gpu-thermal": 65.0}
        findings = judge(Contract("MAXN", clients_declared=True), state(), [], state(**merged))
        assert fold(judgement, findings).verdict is Verdict.INCONCLUSIVE
