from __future__ import annotations

import copy
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from benchmarks import results
from benchmarks.int8_audit.faults import FAULTS
from benchmarks.projects import PARITY_BARS
from benchmarks.results import judging
from benchmarks.verdicts import comparison, limits, peers, percentile, table

if TYPE_CHECKING:
    from collections.abc import Callable

    Rows = list[dict[str, Any]]

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NEEDED = (
    "machine",
    "tensorrt",
    "gpu",
    "sm",
    "cuda",
    "target python",
    "target numpy",
    "host python",
    "host numpy",
    "pytest-hil",
)


def honesty() -> Rows:
    """Ten rounds of three pairs in each configuration, ours 0.5 % slower."""
    side = {"host": [1e-3, 1.1e-3, 0.9e-3], "device": [9e-4, 9e-4, 9e-4], "n": [100.0] * 3}
    slower = {name: [1.005 * value for value in values] for name, values in side.items()}
    return [
        {"binding": binding, "graph": graph, "round": number, "ours": slower, "bare": side}
        for binding in ("ctypes", "pycuda")
        for graph in (False, True)
        for number in range(judging.tensorrt.ROUNDS)
    ]


def provision() -> Rows:
    """Cold builds of 90 s, warm ones of 14 s, the builder's start 8 s; a cached engine 0.2 s behind the bare script."""
    cold, warm = {"step": "cold", "build": 90.0, "timing_cache": "cold"}, {"step": "warm", "build": 14.0}
    starts = {"fresh": 9.0, "kept": 1.0}
    return [
        *({**cold, "process": process, "seconds": 90.0 + start} for process, start in starts.items()),
        *(
            {**warm, "process": process, "seconds": 14.0 + start, "timing_cache": cache}
            for process, start in starts.items()
            for cache in ("warm", "partly")
        ),
        *[{"step": "cached", "seconds": 2.2}] * 5,
        *[{"step": "bare", "seconds": 2.0}] * 5,
    ]


def streams() -> Rows:
    """Four in flight are the best for both sides, ours one percent behind."""
    return [
        {"round": number, "streams": count, "side": side, "runs": runs, "seconds": 1.0 + number / 1000}
        for number in range(judging.tensorrt.ROUNDS)
        for count in judging.tensorrt.STREAMS
        for side, runs in (("ours", 990 if count == 4 else 500), ("bare", 1000 if count == 4 else 600))
    ]


def leak() -> Rows:
    """Memory that stays where it is."""
    runs = {"what": "inferences", "done": list(range(0, 10_001, 50)), "device": [2**30] * 201}
    cycles = {"what": "cycles", "done": list(range(1, 51)), "device": [2**30] * 50}
    return [runs, {**cycles, "binding": "ctypes"}, {**cycles, "binding": "pycuda"}]


def suites() -> Rows:
    """Every model in every precision, well within its bar."""
    asked = [("digits", precision) for precision in (*PARITY_BARS, "int8")]
    asked += [("digits-implicit", "int8")]
    return [
        {
            "check": "parity.outputs",
            "model": model,
            "precision": precision,
            "max_rel": PARITY_BARS.get(precision, 1.0) / 10,
            "verdict": "passed",
            "reason": "within tolerance",
            "executed_on": "gpu",
            "evidence": "device",
            "on_host": False,
        }
        for model, precision in asked
    ]


def faults() -> Rows:
    """Each fault with its words."""
    verdict = {"verdict": "failed", "message": "it happened: on target 'gpu': do that", "fresh": True}
    return [{"fault": name, **verdict} for name in judging.tensorrt.FAULTS]


def deploy_faults() -> Rows:
    """Two hundred deployments, twenty of each kind, after which the old or the new release ran."""
    return [
        {"fault": fault, "seed": number, "moment": 1.0, "runs": "new" if number % 2 else "old", "held": True}
        for number in range(judging.deploy.DEPLOYMENTS // len(judging.deploy.DEPLOY_FAULTS))
        for fault in judging.deploy.DEPLOY_FAULTS
    ]


def simulated(claims: table.Claims) -> Rows:
    """Every cell of a block, all as they are wanted."""
    return table.as_rows(
        table.cell(
            str(number),
            "noise",
            table.TRIALS if sense == "at least" else 0,
            table.TRIALS,
            bar=limit,
            sense=sense,
            claim=claim,
        )
        for claim, (cells, limit, sense) in claims.items()
        for number in range(cells)
    )


def compared() -> Rows:
    """As ``simulated``, and every promise of the planner kept."""
    return simulated(
        {**comparison.CLAIMS, comparison.PROMISE_CLAIM: (comparison.PROMISES, 0.97, "at least")},
    )


def ssh() -> Rows:
    """Uploads a tenth faster than scp, sessions 0.3 s behind, parity a fifth slower with the delay."""
    size = judging.network.UPLOAD_SIZE
    uploads: Rows = [
        {"part": "upload", "round_trip": trip, "size": size, "ours": 2.0, "scp": 2.2, "start": 0.4}
        for trip in judging.network.ROUND_TRIPS
        for _ in range(judging.network.UPLOAD_ROUNDS)
    ]
    sessions: Rows = [
        {"part": "session", "round_trip": 0, "ours": 1.0, "bare": 0.7, "uploaded": 0}
        for _ in range(judging.network.SESSION_ROUNDS)
    ]
    parity: Rows = [
        {"part": "parity", "samples": judging.network.PARITY_SAMPLES, "near": 1.0, "far": 1.2}
        for _ in range(judging.network.PARITY_ROUNDS)
    ]
    return uploads + sessions + parity


def telemetry() -> Rows:
    """Half a percent slower with the sampler."""
    return [{"with": [1.005e-5] * 3, "without": [1e-5] * 3} for _ in range(judging.network.TELEMETRY_ROUNDS)]


def planted() -> Rows:
    """Every fault detected and named, nobody healthy accused; INT8 may be out of tolerance all the same."""
    seen = {"precision": "fp32", "parity": "failed", "accused": True, "right": True}
    sick = [{**seen, "planted": f"node{number}"} for number in range(judging.parity.PARITY_PLANTED)]
    sound = {"planted": None, "precision": "int8", "parity": "failed", "accused": False, "right": False}
    return [*sick, *[dict(sound) for _ in range(judging.parity.PARITY_PLANTED)]]


def parity_peers() -> Rows:
    """We take a third of their time and of their memory."""
    theirs = {"model": "digits", "side": "theirs", "seconds": 3.0, "peak": 3e8}
    return [theirs, {**theirs, "side": "ours", "seconds": 1.0, "peak": 1e8}]


def holes() -> Rows:
    """None passes with us."""
    return [{"hole": str(number), "theirs": True, "ours": False} for number in range(judging.parity.PARITY_HOLES)]


def aa() -> Rows:
    """No false alarm in a hundred, every slowdown of 5 % found, in pairs that differ by next to nothing."""
    same = [[1e-3, 1e-3 * (1 + at / 1e5), 1 + at / 1e5] for at in range(-4, 5)]
    slower = [[1e-3, 1.05e-3 * (1 + at / 1e5), 1.05 * (1 + at / 1e5)] for at in range(-4, 5)]
    found: Rows = []
    for model in judging.aa.AA_MODELS:
        found += [{"model": model, "kind": "same", "pairs": same}] * (5 * judging.aa.AA_ROUNDS)
        found += [{"model": model, "kind": "slowed", "pairs": slower}] * judging.aa.AA_ROUNDS
    return [*found, *({"model": model, "kind": "size", "pairs": slower[:8] * 3} for model in judging.aa.AA_MODELS)]


def history() -> Rows:
    """Both databases fast and whole, and every broken history told in one message."""
    found: Rows = []
    for database in judging.history.DATABASES:
        large = {
            "runs": 20_000,
            "measurements": 1_000_000,
            "points": 500,
            "seconds": [0.2] * judging.history.HISTORY_REPEATS,
        }
        crowd = {"confirmed": 900, "kept": 910, "killed": 150, "lost": 0, "twice": 0, "partial": 0}
        found += [
            {"what": "matrix", "database": database, **large},
            {"what": "writers", "database": database, **crowd},
            {"what": "older schema", "database": database, "good": True},
        ]
    told = {"what": "trouble", "code": 11, "messages": ["error: history: is damaged: move it"], "traceback": False}
    return found + [
        {**told, "case": case, "early": "before" in case, "report": "incomplete" if "before" in case else "complete"}
        for case in judging.history.SPOILED
    ]


def int8_audit() -> Rows:
    """Each fault found and named in each draw, and no healthy calibration accused."""
    planted = [(kind, seed) for kind in judging.int8.INT8_FAULTS for seed in range(judging.int8.INT8_SEEDS)]
    rows: Rows = [{"kind": kind, "seed": seed, "found": True, "named": True} for kind, seed in planted]
    return rows + [{"kind": "healthy", "seed": seed, "accused": False} for seed in range(judging.int8.INT8_HEALTHY)]


GOOD: dict[str, Callable[[], Rows]] = {
    "history": history,
    "deploy-faults": deploy_faults,
    "parity-planted": planted,
    "parity-peer": parity_peers,
    "parity-holes": holes,
    "tensorrt-honesty": honesty,
    "tensorrt-provision": provision,
    "tensorrt-streams": streams,
    "tensorrt-leak": leak,
    "tensorrt-suites-digits": suites,
    "tensorrt-faults": faults,
    "compare-aa": aa,
    "verdicts-percentile": partial(simulated, percentile.CLAIMS),
    "verdicts-limits": partial(simulated, limits.CLAIMS),
    "verdicts-comparison": compared,
    "verdicts-peers": partial(simulated, peers.CLAIMS),
    "ssh": ssh,
    "telemetry": telemetry,
    "int8-audit": int8_audit,
}


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Rows], dict[str, Any]]:
    """A result of these rows, as a benchmark would write it."""
    monkeypatch.setenv("HIL_COMMIT", COMMIT)

    def made(benchmark: str, rows: Rows) -> dict[str, Any]:
        versions = dict.fromkeys(NEEDED, "1.0")
        command = ["python", "-m", "benchmarks.tensorrt", "all"]
        found = results.result(benchmark, rows, command=command, versions=versions, quick=False)
        read: dict[str, Any] = json.loads(json.dumps(found))
        return read

    return made


def schema() -> dict[str, Any]:
    """The schema of results."""
    found: dict[str, Any] = json.loads(results.SCHEMA.read_text(encoding="utf-8"))
    return found


def test_every_kept_result_fits_the_schema_and_follows_from_its_rows() -> None:
    """A figure that somebody typed in, a bar left out or a quick run taken for a whole one does not stay."""
    checker = jsonschema.Draft202012Validator(schema())
    kept = list(results.read_all())
    assert kept
    for found in kept:
        checker.validate(found)
        assert not results.problems(found), found["benchmark"]
        assert (results.FOLDER / f"{found['benchmark']}.json").is_file()


def test_readme_tells_the_kept_results() -> None:
    """The README's table is the files', none left out, none from elsewhere: ``python -m benchmarks.results``."""
    readme = (results.FOLDER / "README.md").read_text(encoding="utf-8")
    assert readme == results.refreshed(readme, results.read_all())
    assert results.START in readme
    assert results.END in readme


def test_every_judge_has_a_sample_here() -> None:
    """A benchmark that comes later is tried here too."""
    models = {f"tensorrt-suites-{model}" for model in judging.suites.MODELS}
    assert set(GOOD) | models == set(judging.JUDGES)


@pytest.mark.parametrize("judged", list(GOOD))
def test_a_good_result_passes(judged: str, make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """Rows within every bar make a result that passes, fits the schema and follows from its rows."""
    found = make(judged, GOOD[judged]())
    jsonschema.Draft202012Validator(schema()).validate(found)
    assert found["passed"] is True
    assert results.problems(found) == []


@pytest.mark.parametrize("judged", list(GOOD))
def test_no_rows_pass_no_bar(judged: str, make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """Where nothing was measured no bar is met: a loop over nothing is no success."""
    found = make(judged, [])
    assert found["passed"] is False
    assert not any(bar["met"] for bar in found["bars"] if bar["name"] != "engines that were not compared")


@pytest.mark.parametrize("judged", list(GOOD))
def test_a_figure_typed_in_is_found(judged: str, make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """Neither figure, interval, limit, verdict nor commit can be changed by hand."""
    good = make(judged, GOOD[judged]())
    for number in range(len(good["bars"])):
        for key, value in (("figure", -7.0), ("limit", 1e9), ("met", False), ("low", -7.0), ("sense", "about")):
            found = copy.deepcopy(good)
            found["bars"][number][key] = value
            assert results.problems(found), (number, key)
    assert results.problems({**good, "passed": False})
    assert results.problems({**good, "commit": "main"})
    assert results.problems({**good, "quick": True})
    assert results.problems({**good, "bars": good["bars"][1:]})
    assert results.problems({**good, "benchmark": "something else"})


def test_a_row_taken_out_is_found(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """A round that was not to somebody's liking cannot be left out: the bar then has no figure."""
    for benchmark in (*GOOD,):
        assert make(benchmark, GOOD[benchmark]()[:-1])["passed"] is False, benchmark


def test_a_false_alarm_counts_whichever_way_it_points(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """Two of a hundred A/A comparisons called, one worse and one better, are over the bar; the bound is told."""
    rows = aa()
    slow, fast = ([[first, first * by, by] for first, *_ in rows[0]["pairs"]] for by in (1.06, 1 / 1.06))
    rows[0], rows[1] = {**rows[0], "pairs": slow}, {**rows[1], "pairs": fast}
    alarms = make("compare-aa", rows)["bars"][0]
    assert (alarms["figure"], alarms["met"]) == (0.02, False)
    assert alarms["high"] == pytest.approx(0.0616, abs=1e-4)  # Clopper and Pearson, 2 of 100 at 95 %


def test_a_simulated_claim_is_as_good_as_its_worst_cell(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """One cell that is significantly beyond its bar misses the claim, whatever the others are."""
    rows = simulated(limits.CLAIMS)
    rows[3].update(hits=40)  # 2 % wrong passes of 1 % allowed
    assert [bar["met"] for bar in make("verdicts-limits", rows)["bars"]].count(False) == 1
    rows[3].update(hits=22)  # 1.1 %: chance
    assert make("verdicts-limits", rows)["passed"] is True
    rows[3].update(hits=0, trials=40)
    assert make("verdicts-limits", rows)["passed"] is False


def test_a_promise_of_power_is_held_to_three_points(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """A power that is measured further from the promised one misses, without any allowance for chance."""
    rows = compared()
    rows[-1].update(rate=0.969)
    assert [bar["met"] for bar in make("verdicts-comparison", rows)["bars"]].count(False) == 1


def test_honesty_is_missed_on_either_side(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """Faster than a bare loop by more than the bar is as suspect as slower."""
    for factor in (0.97, 1.03):
        rows = honesty()
        for row in rows:
            row["ours"] = {name: [factor * value for value in values] for name, values in row["bare"].items()}
        assert [bar["met"] for bar in make("tensorrt-honesty", rows)["bars"]] == [False] * 8


def test_a_warm_build_must_have_used_the_timing_cache(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """A build that was fast for another reason says nothing of the timing cache."""
    rows = [{**row, "timing_cache": "cold"} for row in provision()]
    assert [bar["met"] for bar in make("tensorrt-provision", rows)["bars"]] == [False, False, False, True]


def test_one_kind_of_process_says_nothing_of_the_other(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """A process that has built before is no session's first, and the other way round."""
    for process, met in (("fresh", [True, True, False, True]), ("kept", [False, False, True, True])):
        rows = [row for row in provision() if row.get("process", process) == process]
        assert [bar["met"] for bar in make("tensorrt-provision", rows)["bars"]] == met


def test_growth_is_found(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """One piece of 2 MiB lost every 2,000 inferences or every fourth load is over the bar."""
    rows = leak()
    rows[0]["device"] = [2**30 + done // 2000 * 2**21 for done in rows[0]["done"]]
    for row in rows[1:]:
        row["device"] = [2**30 + done // 4 * 2**21 for done in row["done"]]
    assert [bar["met"] for bar in make("tensorrt-leak", rows)["bars"]] == [False] * 3


def test_a_miss_of_parity_must_be_told_by_the_report(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """An engine out of its bar that the report calls passed is two misses: its own, and one of the report."""
    rows = suites()
    rows[0]["max_rel"] = 1.0
    silent = {bar["name"]: bar for bar in make("tensorrt-suites-digits", rows)["bars"]}
    assert silent["misses that the report does not tell"]["figure"] == 1
    rows[0]["verdict"] = "failed"
    told = {bar["name"]: bar for bar in make("tensorrt-suites-digits", rows)["bars"]}
    assert told["misses that the report does not tell"]["met"] is True
    assert [bar["name"] for bar in told.values() if not bar["met"]] == ["relative error, digits fp32"]


@pytest.mark.parametrize("change", [{"evidence": "host"}, {"executed_on": "cpu"}, {"evidence": None}])
def test_an_engine_that_ran_elsewhere_is_found(
    change: dict[str, Any], make: Callable[[str, Rows], dict[str, Any]]
) -> None:
    """A check of an engine counts only with evidence that this GPU did the work."""
    rows = suites()
    rows[-1].update(change)
    assert make("tensorrt-suites-digits", rows)["passed"] is False


@pytest.mark.parametrize(
    "change", [{"verdict": "passed"}, {"message": "  "}, {"message": "Traceback"}, {"fresh": False}]
)
def test_a_fault_needs_its_verdict_its_words_and_a_fresh_worker(
    change: dict[str, Any], make: Callable[[str, Rows], dict[str, Any]]
) -> None:
    """A fault that passes, says nothing or takes the next check with it is missed."""
    rows = faults()
    rows[3].update(change)
    assert [bar["met"] for bar in make("tensorrt-faults", rows)["bars"]].count(False) == 1


@pytest.mark.parametrize("change", [{"held": False}, {"runs": ""}, {"held": "yes"}])
def test_a_deployment_that_did_not_hold_is_found(
    change: dict[str, Any], make: Callable[[str, Rows], dict[str, Any]]
) -> None:
    """One of two hundred is enough to miss the bar of its kind."""
    rows = deploy_faults()
    rows[7].update(change)
    assert [bar["met"] for bar in make("deploy-faults", rows)["bars"]].count(False) == 1


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("upload", {"ours": 2.3}),
        ("upload", {"size": 1 << 20}),
        ("session", {"ours": 1.3}),
        ("session", {"uploaded": 1}),
        ("parity", {"far": 1.4}),
        ("parity", {"samples": 10}),
    ],
)
def test_what_a_network_costs_too_much_is_missed(
    part: str, change: dict[str, Any], make: Callable[[str, Rows], dict[str, Any]]
) -> None:
    """Slower than scp, a smaller file, a session that sends anything, parity over fewer samples: each is missed."""
    rows = [{**row, **change} if row["part"] == part else row for row in ssh()]
    assert make("ssh", rows)["passed"] is False


def test_a_sampler_that_disturbs_is_missed(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """Two percent slower is over the bar."""
    assert make("telemetry", [{**row, "with": [1.02e-5] * 3} for row in telemetry()])["passed"] is False


def test_a_fault_must_be_named_and_the_healthy_left_alone(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """One fault found under another name, or one healthy calibration accused, misses its bar."""
    assert tuple(fault.kind for fault in FAULTS) == judging.int8.INT8_FAULTS
    for number, key, value in ((0, "named", False), (5, "found", False), (-1, "accused", True)):
        rows = int8_audit()
        rows[number][key] = value
        assert [bar["met"] for bar in make("int8-audit", rows)["bars"]].count(False) == 1


def test_draws_of_the_audit_are_all_of_consecutive_seeds(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """From whichever seed on; one that was drawn again with another in its place gives no figure."""
    later = [{**row, "seed": row["seed"] + 2000} for row in int8_audit()]
    assert make("int8-audit", later)["passed"] is True
    for number in (0, -1):
        chosen = [dict(row) for row in later]
        chosen[number]["seed"] += 100
        assert make("int8-audit", chosen)["passed"] is False


@pytest.mark.parametrize(
    ("place", "change"),
    [
        (0, {"accused": False, "parity": "passed"}),
        (-1, {"accused": True}),
        (-1, {"precision": "fp16"}),
    ],
)
def test_a_fault_missed_and_a_healthy_engine_accused_are_seen(
    place: int, change: dict[str, Any], make: Callable[[str, Rows], dict[str, Any]]
) -> None:
    """One fault that nothing tells of misses a bar, and so does one healthy engine that something is said against."""
    rows = planted()
    rows[place].update(change)
    assert make("parity-planted", rows)["passed"] is False


def test_nodes_are_named_in_nine_of_ten(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """Four of forty may go to another node, five may not; fewer than forty are nothing."""
    rows = planted()
    for row in rows[:4]:
        row["right"] = False
    assert make("parity-planted", rows)["passed"] is True
    rows[4]["right"] = False
    assert make("parity-planted", rows)["passed"] is False
    assert make("parity-planted", planted()[1:])["passed"] is False


def test_a_hole_that_opens_is_seen(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """A comparison of nothing that passes, and one that was not tried, miss the bar."""
    rows = holes()
    rows[3]["ours"] = True
    assert make("parity-holes", rows)["passed"] is False
    assert make("parity-holes", holes()[1:])["passed"] is False


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("matrix", {"seconds": [0.1] * 10 + [1.1]}),
        ("matrix", {"seconds": [0.1] * 10}),
        ("matrix", {"measurements": 999_999}),
        ("matrix", {"points": 0}),
        ("writers", {"lost": 1}),
        ("writers", {"twice": 1}),
        ("writers", {"partial": 1}),
        ("writers", {"killed": 3}),
        ("older schema", {"good": False}),
        ("trouble", {"report": None}),
        ("trouble", {"messages": []}),
        ("trouble", {"traceback": True}),
        ("trouble", {"code": 0}),
    ],
)
def test_a_history_that_is_slow_or_loses_is_found(
    what: str, change: dict[str, Any], make: Callable[[str, Rows], dict[str, Any]]
) -> None:
    """One query too slow, one run lost, one broken file that is passed over: one bar is missed."""
    rows = history()
    next(row for row in rows if row["what"] == what).update(change)
    assert [bar["met"] for bar in make("history", rows)["bars"]].count(False) == 1


def test_a_commit_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that does not say what was measured is not written."""
    monkeypatch.setenv("HIL_COMMIT", "HEAD")
    with pytest.raises(SystemExit, match="HIL_COMMIT"):
        results.commit()
