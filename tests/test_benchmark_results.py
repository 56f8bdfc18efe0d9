from __future__ import annotations

import copy
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from benchmarks import results
from benchmarks.int8_audit import third_party
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
    """Return ten rounds of three pairs in each configuration, ours 0.5 % slower."""
    side = {"host": [1e-3, 1.1e-3, 0.9e-3], "device": [9e-4, 9e-4, 9e-4], "n": [100.0] * 3}
    slower = {name: [1.005 * value for value in values] for name, values in side.items()}
    return [
        {"binding": binding, "graph": graph, "round": number, "ours": slower, "bare": side}
        for binding in ("ctypes", "pycuda")
        for graph in (False, True)
        for number in range(judging.tensorrt.ROUNDS)
    ]


def provision() -> Rows:
    """Return cold builds of 90 s, warm builds of 14 s, and a cached engine 0.2 s slower than the bare script."""
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
    """Return rows in which both sides are fastest with four streams, ours one percent slower."""
    return [
        {"round": number, "streams": count, "side": side, "runs": runs, "seconds": 1.0 + number / 1000}
        for number in range(judging.tensorrt.ROUNDS)
        for count in judging.tensorrt.STREAMS
        for side, runs in (("ours", 990 if count == 4 else 500), ("bare", 1000 if count == 4 else 600))
    ]


def leak() -> Rows:
    """Return rows without growth of memory."""
    runs = {"what": "inferences", "done": list(range(0, 10_001, 50)), "device": [2**30] * 201}
    cycles = {"what": "cycles", "done": list(range(1, 51)), "device": [2**30] * 50}
    return [runs, {**cycles, "binding": "ctypes"}, {**cycles, "binding": "pycuda"}]


def suites() -> Rows:
    """Return a row for each model and precision, well within its bar."""
    engines = [("digits", precision) for precision in (*PARITY_BARS, "int8")]
    engines += [("digits-implicit", "int8")]
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
        for model, precision in engines
    ]


def trained(model: str) -> Rows:
    """Return a row that passed for each engine of a model with trained weights."""
    check = "sequence.free_running" if model == "filter" else "parity.outputs"
    row = {"check": check, "verdict": "passed", "executed_on": "gpu", "evidence": "device", "on_host": False}
    engines = judging.suites.TRAINED[model]
    return [{**row, "model": name, "precision": precision} for name, precision in sorted(engines)]


def faults() -> Rows:
    """Return a failed row with a message for each fault."""
    verdict = {"verdict": "failed", "message": "it happened: on target 'gpu': do that", "fresh": True}
    return [{"fault": name, **verdict} for name in judging.tensorrt.FAULTS]


def deploy_faults() -> Rows:
    """Return two hundred deployments, twenty of each kind, after which the old or the new release ran."""
    return [
        {"fault": fault, "seed": number, "moment": 1.0, "runs": "new" if number % 2 else "old", "held": True}
        for number in range(judging.deploy.DEPLOYMENTS // len(judging.deploy.DEPLOY_FAULTS))
        for fault in judging.deploy.DEPLOY_FAULTS
    ]


def simulated(claims: table.Claims) -> Rows:
    """Return all cells of a block, each within its limit."""
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
    """Return the cells of the comparison, with each promise of the planner met."""
    return simulated(
        {**comparison.CLAIMS, comparison.PROMISE_CLAIM: (comparison.PROMISES, 0.97, "at least")},
    )


def ssh() -> Rows:
    """Return uploads 10 % faster than scp, sessions 0.3 s slower, and parity 20 % slower with the delay."""
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
    """Return rows that are half a percent slower with the sampler."""
    return [{"with": [1.005e-5] * 3, "without": [1e-5] * 3} for _ in range(judging.network.TELEMETRY_ROUNDS)]


def planted() -> Rows:
    """Return rows with each fault detected and named, and no culprit in a healthy engine, even if INT8 parity fails."""
    detected = {"precision": "fp32", "parity": "failed", "accused": True, "right": True}
    faulty = [{**detected, "planted": f"node{number}"} for number in range(judging.parity.PARITY_PLANTED)]
    healthy = {"planted": None, "precision": "int8", "parity": "failed", "accused": False, "right": False}
    return [*faulty, *[dict(healthy) for _ in range(judging.parity.PARITY_PLANTED)]]


def parity_peers() -> Rows:
    """Return rows in which ours needs a third of Polygraphy's time and memory."""
    theirs = {"model": "digits", "side": "theirs", "seconds": 3.0, "peak": 3e8}
    return [theirs, {**theirs, "side": "ours", "seconds": 1.0, "peak": 1e8}]


def holes() -> Rows:
    """Return rows in which no comparison of nothing passes with ours."""
    return [{"hole": str(number), "theirs": True, "ours": False} for number in range(judging.parity.PARITY_HOLES)]


def aa() -> Rows:
    """Return a hundred comparisons without a false alarm and all slowdowns of 5 % detected, with little noise."""
    same = [[1e-3, 1e-3 * (1 + at / 1e5), 1 + at / 1e5] for at in range(-4, 5)]
    slower = [[1e-3, 1.05e-3 * (1 + at / 1e5), 1.05 * (1 + at / 1e5)] for at in range(-4, 5)]
    rows: Rows = []
    for model in judging.aa.AA_MODELS:
        rows += [{"model": model, "kind": "same", "pairs": same}] * (5 * judging.aa.AA_ROUNDS)
        rows += [{"model": model, "kind": "slowed", "pairs": slower}] * judging.aa.AA_ROUNDS
    return [*rows, *({"model": model, "kind": "size", "pairs": slower[:8] * 3} for model in judging.aa.AA_MODELS)]


def compared_sessions(status: str, code: int, **about: Any) -> dict[str, Any]:
    """Return the row of one comparison of sessions."""
    rows = [{"check": "latency.p50", "precision": "fp32", "status": status}]
    return {**about, "code": code, "rows": rows}


def separate_sessions() -> Rows:
    """Return a hundred pairs of sessions of which a third is disturbed and confounded, and all slowdowns found."""
    pairs = [
        compared_sessions("confounded", 1, kind="pair", disturbed=["", "limit"])
        if at % 3 == 0
        else compared_sessions("same", 0, kind="pair", disturbed=["", ""])
        for at in range(judging.sessions.PAIRS)
    ]
    return [*pairs, *(compared_sessions("worse", 1, kind="slowdown") for _ in range(judging.sessions.SLOWDOWNS))]


def sessions_of_a_board() -> Rows:
    """Return comparisons of which each throttled one is confounded, and the undisturbed one is not."""
    throttled = [compared_sessions("confounded", 1, disturbed=["", how]) for how in judging.sessions.THROTTLED]
    return [compared_sessions("same", 0, disturbed=["", ""]), *throttled]


def simulated_sessions() -> Rows:
    """Return simulated sessions without a false change."""
    return simulated({judging.sessions.SIMULATED_CLAIM: (judging.sessions.SIMULATED_CELLS, 0.01, "at most")})


def planted_sequences() -> Rows:
    """Return rows in which all faults are found and named, and all sound variants pass."""
    wrong = {"part": "fault", "passed": False, "right": True, "failed": True}
    sound = {"part": "sound", "passed": True, "right": False, "failed": False}
    counts = (wrong, judging.sequences.PLANTED), (sound, judging.sequences.SOUND)
    return [{**row, "seed": 7, "number": number} for row, count in counts for number in range(count)]


def cost_of_steps() -> Rows:
    """Return pairs in which a step costs 10 µs more with the agent."""
    return [
        {"part": "cost", "size": size, "agent": 60e-6, "bare": 50e-6}
        for size in judging.sequences.SIZES
        for _ in range(judging.sequences.PAIRS)
    ]


def heard_models() -> Rows:
    """Return the checks of all real models, of which one fails in INT8 with its cause."""
    made: Rows = [
        {"model": model, "precision": precision, "check": check, "verdict": "passed", "cause": "", "longest": 180.0}
        for model in judging.sequences.REAL
        for precision in judging.sequences.PRECISIONS
        for check in judging.sequences.CHECKS
    ]
    failed = next(row for row in made if row["precision"] == "int8")
    failed |= {"verdict": "failed", "cause": "the error starts at a node"}
    return made


def history() -> Rows:
    """Return rows in which both databases are fast and complete, and each broken history gives one message."""
    rows: Rows = []
    for database in judging.history.DATABASES:
        large = {
            "runs": 20_000,
            "measurements": 1_000_000,
            "points": 500,
            "seconds": [0.2] * judging.history.HISTORY_REPEATS,
        }
        crowd = {"confirmed": 900, "kept": 910, "killed": 150, "lost": 0, "twice": 0, "partial": 0}
        rows += [
            {"what": "matrix", "database": database, **large},
            {"what": "writers", "database": database, **crowd},
            {"what": "older schema", "database": database, "good": True},
        ]
    refused = {"what": "trouble", "code": 11, "messages": ["error: history: is damaged: move it"], "traceback": False}
    return rows + [
        {**refused, "case": case, "early": "before" in case, "report": "incomplete" if "before" in case else "complete"}
        for case in judging.history.SPOILED
    ]


def int8_audit() -> Rows:
    """Return rows with each fault detected and named in each draw, and no healthy calibration accused."""
    planted = [(kind, seed) for kind in judging.int8.INT8_FAULTS for seed in range(judging.int8.INT8_SEEDS)]
    rows: Rows = [{"kind": kind, "seed": seed, "found": True, "named": True} for kind, seed in planted]
    return rows + [{"kind": "healthy", "seed": seed, "accused": False} for seed in range(judging.int8.INT8_HEALTHY)]


def foreign_audit() -> Rows:
    """Return networks of other projects of which each fault was found and named, and no healthy one was accused."""
    outcome = {"found": True, "named": True, "accused": False}
    models = [str(number) for number in range(judging.int8.THIRD_PARTY_MODELS)]
    return [{**outcome, "model": model, "kind": kind} for model in models for kind in judging.int8.THIRD_PARTY]


def onnx_backend() -> Rows:
    """Return a passed row for each case."""
    kinds = (("node", judging.onnx_backend.NODE_CASES), ("simple", judging.onnx_backend.STORED_CASES))
    row = {"outcome": "passed", "wrong": "", "missed": False}
    return [{**row, "kind": kind, "case": str(number)} for kind, count in kinds for number in range(count)]


def zoo() -> Rows:
    """Return models that ended as stated, and damaged copies that failed by the tolerances of each precision."""
    ended = {"part": "model", "ended": "gate 0", "expected": "gate 0"}
    rows: Rows = [{**ended, "model": str(number)} for number in range(judging.zoo.MODELS)]
    copies = [{"part": "damage", "precision": one, "verdict": "failed"} for one in judging.zoo.PRECISIONS]
    return rows + copies * judging.zoo.DAMAGED


def accuracy() -> Rows:
    """Return as many sound and broken engines as are required, with the right verdicts of both judges."""
    models = [*judging.accuracy.BUNDLED, *map(str, range(judging.accuracy.FOREIGN))]
    rows: Rows = []
    for truth, count, kinds, verdict in (
        ("sound", judging.accuracy.SOUND, judging.accuracy.SOUND_KINDS, "passed"),
        ("broken", judging.accuracy.BROKEN, judging.accuracy.BROKEN_KINDS, "failed"),
    ):
        row = {"truth": truth, "verdicts": {"declared": verdict, "undeclared": verdict}}
        rows += [{**row, "model": models[n % 9], "kind": f"{truth} {n % kinds}"} for n in range(count)]
    return rows


def precisions() -> Rows:
    """Return each wrong claim found and no sound one accused or contradicted, in each draw."""
    parts = (("wrong", judging.precision.WRONG), ("sound", judging.precision.SOUND))
    return [
        {"part": part, "name": str(number), "claimed": "fp8", "draw": draw, "found": part == "wrong", "parsed": "taken"}
        for draw in range(judging.precision.DRAWS)
        for part, count in parts
        for number in range(count)
    ]


def pool_speed() -> Rows:
    """Return four boards that are 3.6 times as fast as one."""
    row = {"rows": 16, "passed": 16}
    return [{**row, "boards": 1, "used": 1, "seconds": 360.0}, {**row, "boards": 4, "used": 4, "seconds": 100.0}]


def pool_cost() -> Rows:
    """Return as many pairs as are required, in which the pool takes half a second longer."""
    row = {"board": 4.0, "pool": 4.5, "passed": True}
    return [{**row, "way": way} for way in ("without pytest-xdist", "with -n 1") for _ in range(judging.pool.PAIRS)]


def pool_main() -> Rows:
    """Return two models with the same rows on one target and on a pool of two boards."""
    made = []
    for side in ("one", "pool"):
        for model in ("arm", "digits"):
            board = "cpu" if side == "one" else f"b-{model}"
            row = {"side": side, "code": 0, "model": model, "precision": "fp32", "scenario": None, "board": board}
            made += [{**row, "id": check, "verdict": "passed"} for check in ("parity.outputs", "latency.p50")]
    return made


def tuned() -> Rows:
    """Return models of which full INT8 missed a tolerance and the second build met all of them."""
    trials = [{"holds": False, "missed": {"parity.task": "5 %"}}, {"holds": True, "missed": {}}]
    row = {"met": True, "builds": 25, "share": 0.8, "trials": trials}
    return [{**row, "model": str(number)} for number in range(judging.tune.MODELS)]


def pool_random() -> Rows:
    """Return runs of which one was killed, on a lab that was disturbed in each way and is free at the end."""
    lab = {"boards": judging.pool.LAB_BOARDS, "kicks": 9, "exporters": 2, "seconds": 0.1, "seconds_after_kill": 5.0}
    judged = {"killed": False, **dict.fromkeys(("missing", "doubled", "split", "used_by_two"), 0)}
    runs = [{**judged, "part": "run", "attempts": 1, "hung": False} for _ in range(judging.pool.RUNS - 1)]
    return [{"part": "lab", **lab, "left": [], "reservations": 0}, {"part": "run", "killed": True}, *runs]


GOOD: dict[str, Callable[[], Rows]] = {
    "pool-speed": pool_speed,
    "pool-cost": pool_cost,
    "pool-random": pool_random,
    "pool-main": pool_main,
    "history": history,
    "deploy-faults": deploy_faults,
    "parity-planted": planted,
    "parity-third-party": planted,
    "parity-peer": parity_peers,
    "parity-holes": holes,
    "tensorrt-honesty": honesty,
    "tensorrt-provision": provision,
    "tensorrt-streams": streams,
    "tensorrt-leak": leak,
    "tensorrt-suites-digits": suites,
    **{f"tensorrt-suites-{model}": partial(trained, model) for model in judging.suites.TRAINED},
    "tensorrt-faults": faults,
    "compare-aa": aa,
    "sequences-cost": cost_of_steps,
    "sequences-planted": planted_sequences,
    "sequences-speech": heard_models,
    "sessions-real": separate_sessions,
    "sessions-board": sessions_of_a_board,
    "sessions-simulated": simulated_sessions,
    "verdicts-percentile": partial(simulated, percentile.CLAIMS),
    "verdicts-limits": partial(simulated, limits.CLAIMS),
    "verdicts-comparison": compared,
    "verdicts-peers": partial(simulated, peers.CLAIMS),
    "ssh": ssh,
    "telemetry": telemetry,
    "int8-audit": int8_audit,
    "int8-audit-third-party": foreign_audit,
    "int8-tune": tuned,
    "tensorrt-tune": lambda: [{**tuned()[0], "builds": 8}],
    "precision": precisions,
    "onnx-backend": onnx_backend,
    "zoo": zoo,
    "accuracy": accuracy,
}


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Rows], dict[str, Any]]:
    """Return a function that makes a result of rows, as a benchmark writes it."""
    monkeypatch.setenv("HIL_COMMIT", COMMIT)

    def made(benchmark: str, rows: Rows) -> dict[str, Any]:
        versions = dict.fromkeys(NEEDED, "1.0")
        command = ["python", "-m", "benchmarks.tensorrt", "all"]
        written = results.result(benchmark, rows, command=command, versions=versions, quick=False)
        read: dict[str, Any] = json.loads(json.dumps(written))
        return read

    return made


def schema() -> dict[str, Any]:
    """Return the schema of results."""
    document: dict[str, Any] = json.loads(results.SCHEMA.read_text(encoding="utf-8"))
    return document


def test_each_stored_result_is_valid_and_derived_from_its_rows() -> None:
    """A stored result fits the schema, has the bars of its rows, and is in a file of its name."""
    checker = jsonschema.Draft202012Validator(schema())
    stored = list(results.read_all())
    assert stored
    for result in stored:
        checker.validate(result)
        assert not results.problems(result), result["benchmark"]
        assert (results.FOLDER / f"{result['benchmark']}.json").is_file()


def test_readme_has_the_stored_results() -> None:
    """The README's table has exactly the stored results, as ``python -m benchmarks.results`` writes it."""
    readme = (results.FOLDER / "README.md").read_text(encoding="utf-8")
    assert readme == results.refreshed(readme, results.read_all())
    assert results.START in readme
    assert results.END in readme


def test_each_judge_has_a_good_sample() -> None:
    """This module has good rows for the judge of each benchmark."""
    models = {f"tensorrt-suites-{model}" for model in judging.suites.MODELS}
    assert set(GOOD) | models == set(judging.JUDGES)


@pytest.mark.parametrize("judged", list(GOOD))
def test_a_good_result_passes(judged: str, make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """Rows within all bars make a result that passes, fits the schema and agrees with its rows."""
    result = make(judged, GOOD[judged]())
    jsonschema.Draft202012Validator(schema()).validate(result)
    assert result["passed"] is True
    assert results.problems(result) == []


@pytest.mark.parametrize("judged", list(GOOD))
def test_no_bar_is_met_without_rows(judged: str, make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """A result without rows meets no bar and does not pass."""
    result = make(judged, [])
    assert result["passed"] is False
    assert not any(bar["met"] for bar in result["bars"] if bar["name"] != "engines that were not compared")


@pytest.mark.parametrize("judged", list(GOOD))
def test_an_edited_result_is_detected(judged: str, make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """A figure, interval, limit, verdict or commit that was changed by hand is detected."""
    good = make(judged, GOOD[judged]())
    for number in range(len(good["bars"])):
        for key, value in (("figure", -7.0), ("limit", 1e9), ("met", False), ("low", -7.0), ("sense", "about")):
            edited = copy.deepcopy(good)
            edited["bars"][number][key] = value
            assert results.problems(edited), (number, key)
    assert results.problems({**good, "passed": False})
    assert results.problems({**good, "commit": "main"})
    assert results.problems({**good, "quick": True})
    assert results.problems({**good, "bars": good["bars"][1:]})
    assert results.problems({**good, "benchmark": "something else"})


def test_a_removed_row_is_detected(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """A result without its last row does not pass."""
    for benchmark in GOOD:
        assert make(benchmark, GOOD[benchmark]()[:-1])["passed"] is False, benchmark


def test_false_alarms_count_in_both_directions(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """Two false alarms in a hundred A/A comparisons, one slower and one faster, exceed the bar."""
    rows = aa()
    slow, fast = ([[first, first * by, by] for first, *_ in rows[0]["pairs"]] for by in (1.06, 1 / 1.06))
    rows[0], rows[1] = {**rows[0], "pairs": slow}, {**rows[1], "pairs": fast}
    alarms = make("compare-aa", rows)["bars"][0]
    assert (alarms["figure"], alarms["met"]) == (0.02, False)
    assert alarms["high"] == pytest.approx(0.0616, abs=1e-4)  # Clopper and Pearson, 2 of 100 at 95 %


def test_sessions_of_one_engine_miss_a_bar_by_any_false_row(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """False statuses, a wrong exit code and a missing pair each make the result of separate sessions miss a bar."""
    good = separate_sessions()
    p99 = {"check": "latency.p99", "precision": "fp32", "status": "better", "counts": False}
    rows = [{**row, "rows": [*row["rows"], p99]} if at in {1, 2} else row for at, row in enumerate(good)]
    assert [bar["figure"] for bar in make("sessions-real", rows)["bars"] if not bar["met"]] == [0.02]
    same = [{"check": "latency.p50", "precision": "fp32", "status": "same"}]
    for disturbed, wrong in ((["", "limit"], {"rows": same}), (["", ""], {"code": 1})):
        rows = [
            ({**row, **wrong} if row.get("disturbed") == disturbed and at < 15 else row) for at, row in enumerate(good)
        ]
        assert [bar["met"] for bar in make("sessions-real", rows)["bars"]].count(False) == 1
    assert make("sessions-real", good[1:])["passed"] is False


def test_a_simulated_claim_is_judged_by_its_worst_cell(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """A claim is missed if one cell is significantly beyond its bar or has too few trials."""
    rows = simulated(limits.CLAIMS)
    rows[3].update(hits=40)  # 2 % wrong passes of 1 % allowed
    assert [bar["met"] for bar in make("verdicts-limits", rows)["bars"]].count(False) == 1
    rows[3].update(hits=22)  # 1.1 %: chance
    assert make("verdicts-limits", rows)["passed"] is True
    rows[3].update(hits=0, trials=40)
    assert make("verdicts-limits", rows)["passed"] is False


def test_a_promised_power_is_met_within_three_points(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """A statistical power more than three points below the promised one misses its bar."""
    rows = compared()
    rows[-1].update(rate=0.969)
    assert [bar["met"] for bar in make("verdicts-comparison", rows)["bars"]].count(False) == 1


def test_honesty_has_a_bar_in_both_directions(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """A figure that is faster or slower than the bare loop by more than the bar misses it."""
    for factor in (0.97, 1.03):
        rows = honesty()
        for row in rows:
            row["ours"] = {name: [factor * value for value in values] for name, values in row["bare"].items()}
        assert [bar["met"] for bar in make("tensorrt-honesty", rows)["bars"]] == [False] * 8


def test_a_warm_build_must_have_used_the_timing_cache(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """A fast build without the timing cache does not meet the bar of warm builds."""
    rows = [{**row, "timing_cache": "cold"} for row in provision()]
    assert [bar["met"] for bar in make("tensorrt-provision", rows)["bars"]] == [False, False, False, True]


def test_each_kind_of_process_needs_its_own_rows(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """Rows of fresh processes do not meet the bars of processes that have built before, and vice versa."""
    for process, met in (("fresh", [True, True, False, True]), ("kept", [False, False, True, True])):
        rows = [row for row in provision() if row.get("process", process) == process]
        assert [bar["met"] for bar in make("tensorrt-provision", rows)["bars"]] == met


def test_growth_of_memory_is_detected(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """A loss of 2 MiB every 2,000 inferences or every fourth load exceeds the bar."""
    rows = leak()
    rows[0]["device"] = [2**30 + done // 2000 * 2**21 for done in rows[0]["done"]]
    for row in rows[1:]:
        row["device"] = [2**30 + done // 4 * 2**21 for done in row["done"]]
    assert [bar["met"] for bar in make("tensorrt-leak", rows)["bars"]] == [False] * 3


def test_the_report_must_state_a_miss_of_parity(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """An engine that misses parity misses one bar, and a second one if its verdict is ``passed``."""
    rows = suites()
    rows[0]["max_rel"] = 1.0
    silent = {bar["name"]: bar for bar in make("tensorrt-suites-digits", rows)["bars"]}
    assert silent["misses that the report does not tell"]["figure"] == 1
    rows[0]["verdict"] = "failed"
    reported = {bar["name"]: bar for bar in make("tensorrt-suites-digits", rows)["bars"]}
    assert reported["misses that the report does not tell"]["met"] is True
    assert [bar["name"] for bar in reported.values() if not bar["met"]] == ["relative error, digits fp32"]


@pytest.mark.parametrize("change", [{"evidence": "host"}, {"executed_on": "cpu"}, {"evidence": None}])
def test_an_engine_that_ran_elsewhere_is_detected(
    change: dict[str, Any], make: Callable[[str, Rows], dict[str, Any]]
) -> None:
    """A check counts only with evidence that this GPU executed the engine."""
    rows = suites()
    rows[-1].update(change)
    assert make("tensorrt-suites-digits", rows)["passed"] is False


@pytest.mark.parametrize(
    "change", [{"evidence": "host"}, {"verdict": "failed"}, {"verdict": "inconclusive"}, {"verdict": "not_run"}]
)
@pytest.mark.parametrize("model", list(judging.suites.TRAINED))
def test_a_trained_model_must_pass_in_floating_point(
    model: str, change: dict[str, Any], make: Callable[[str, Rows], dict[str, Any]]
) -> None:
    """An engine in floating point that was not compared on this GPU, or did not pass, misses a bar."""
    rows = trained(model)
    next(row for row in rows if row["precision"] == "fp16").update(change)
    assert make(f"tensorrt-suites-{model}", rows)["passed"] is False


@pytest.mark.parametrize(
    "change", [{"verdict": "passed"}, {"message": "  "}, {"message": "Traceback"}, {"fresh": False}]
)
def test_a_fault_needs_verdict_message_and_fresh_worker(
    change: dict[str, Any], make: Callable[[str, Rows], dict[str, Any]]
) -> None:
    """A fault that passes, gives no message or breaks the next check misses the bar."""
    rows = faults()
    rows[3].update(change)
    assert [bar["met"] for bar in make("tensorrt-faults", rows)["bars"]].count(False) == 1


@pytest.mark.parametrize("change", [{"held": False}, {"runs": ""}, {"held": "yes"}])
def test_a_failed_deployment_is_detected(change: dict[str, Any], make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """One failed deployment of two hundred misses the bar of its kind."""
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
def test_an_expensive_network_misses_a_bar(
    part: str, change: dict[str, Any], make: Callable[[str, Rows], dict[str, Any]]
) -> None:
    """Uploads slower than scp, smaller files, sessions that upload, and parity of fewer samples miss a bar."""
    rows = [{**row, **change} if row["part"] == part else row for row in ssh()]
    assert make("ssh", rows)["passed"] is False


def test_a_disturbing_sampler_misses_its_bar(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """A sampler that slows the loop by 2 % misses its bar."""
    assert make("telemetry", [{**row, "with": [1.02e-5] * 3} for row in telemetry()])["passed"] is False


def test_faults_must_be_named_and_healthy_ones_not_accused(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """One fault that is detected but misnamed, or one accused healthy calibration, misses its bar."""
    assert tuple(fault.kind for fault in FAULTS) == judging.int8.INT8_FAULTS
    for number, key, value in ((0, "named", False), (5, "found", False), (-1, "accused", True)):
        rows = int8_audit()
        rows[number][key] = value
        assert [bar["met"] for bar in make("int8-audit", rows)["bars"]].count(False) == 1


@pytest.mark.parametrize(
    ("place", "change"),
    [(0, {"accused": True}), (1, {"found": False}), (1, {"kind": "healthy"}), (0, {"model": "another"})],
)
def test_one_wrong_audit_of_another_projects_network_misses_a_bar(
    make: Callable[[str, Rows], dict[str, Any]], place: int, change: dict[str, Any]
) -> None:
    """A network accused though sound, a fault not found, and a network not audited wholly each miss a bar."""
    assert judging.int8.THIRD_PARTY == third_party.KINDS
    rows = foreign_audit()
    rows[place] |= change
    assert make("int8-audit-third-party", rows)["passed"] is False


def test_one_claim_judged_wrongly_misses_a_bar(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """Each of these misses a bar: a wrong claim not found, a sound one accused, a missing case, no parser."""
    for number, change in ((0, {"found": False}), (-1, {"found": True}), (0, {"name": "1"})):
        rows = precisions()
        rows[number] = {**rows[number], **change}
        assert make("precision", rows)["passed"] is False
    for parsed in ("contradicted: by its types", None):
        assert make("precision", [{**row, "parsed": parsed} for row in precisions()])["passed"] is False


def test_the_audits_seeds_are_consecutive(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """The first seed may be any; a draw whose seed is not the next one fails the result."""
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
def test_a_missed_fault_and_an_accused_healthy_engine_are_detected(
    place: int, change: dict[str, Any], make: Callable[[str, Rows], dict[str, Any]]
) -> None:
    """One undetected fault misses a bar, and so does one accused healthy engine."""
    rows = planted()
    rows[place].update(change)
    assert make("parity-planted", rows)["passed"] is False


def test_nine_of_ten_nodes_must_be_named(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """Four wrong nodes of forty pass, five do not; fewer than forty rows do not pass."""
    rows = planted()
    for row in rows[:4]:
        row["right"] = False
    assert make("parity-planted", rows)["passed"] is True
    rows[4]["right"] = False
    assert make("parity-planted", rows)["passed"] is False
    assert make("parity-planted", planted()[1:])["passed"] is False


def test_a_comparison_of_nothing_that_passes_is_detected(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """The bar is missed if a comparison of nothing passes, or was not run."""
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
def test_a_slow_or_lossy_history_is_detected(
    what: str, change: dict[str, Any], make: Callable[[str, Rows], dict[str, Any]]
) -> None:
    """A slow query, a lost run or an unreported broken file misses one bar."""
    rows = history()
    next(row for row in rows if row["what"] == what).update(change)
    assert [bar["met"] for bar in make("history", rows)["bars"]].count(False) == 1


def test_a_result_needs_a_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """No result is written without the hash of the measured commit."""
    monkeypatch.setenv("HIL_COMMIT", "HEAD")
    with pytest.raises(SystemExit, match="HIL_COMMIT"):
        results.commit()


@pytest.mark.parametrize("change", [{"outcome": "traceback"}, {"wrong": "refused, but it runs"}, {"missed": True}])
def test_a_case_of_onnx_that_goes_wrong_misses_a_bar(
    change: dict[str, Any], make: Callable[[str, Rows], dict[str, Any]]
) -> None:
    """A traceback, a wrong verdict and damage that passed each miss one bar; a missing case misses all bars but one."""
    first, *others = onnx_backend()
    assert [bar["met"] for bar in make("onnx-backend", [{**first, **change}, *others])["bars"]].count(False) == 1
    assert [bar["met"] for bar in make("onnx-backend", others)["bars"]].count(True) == 1


@pytest.mark.parametrize("change", [{"ended": "gate 1"}, {"verdict": "passed"}])
def test_a_third_party_model_that_ends_otherwise_misses_a_bar(
    change: dict[str, Any], make: Callable[[str, Rows], dict[str, Any]]
) -> None:
    """A model without the stated outcome, a damaged copy that passes, and a missing row each miss a bar."""
    rows = zoo()
    row = next(row for row in rows if change.keys() <= row.keys())
    rest = [one for one in rows if one is not row]
    assert [bar["met"] for bar in make("zoo", [{**row, **change}, *rest])["bars"]].count(False) == 1
    missing = next(one for one in rows if one["part"] == row["part"])
    assert not all(bar["met"] for bar in make("zoo", [one for one in rows if one is not missing])["bars"])


@pytest.mark.parametrize(
    ("truth", "judge", "verdict", "count", "missed"),
    [
        ("broken", "declared", "passed", 1, 1),
        ("broken", "undeclared", "passed", 1, 1),
        ("broken", "undeclared", "inconclusive", 150, 0),
        ("sound", "declared", "failed", 3, 0),
        ("sound", "declared", "failed", 4, 1),
        ("sound", "declared", "inconclusive", 26, 1),
        ("sound", "undeclared", "failed", 100, 0),
    ],
)
def test_wrong_verdicts_on_real_models_miss_a_bar(
    truth: str, judge: str, verdict: str, count: int, missed: int, make: Callable[[str, Rows], dict[str, Any]]
) -> None:
    """A broken engine that passes misses a bar in either column; a sound one that fails only with declared kinds."""
    rows = accuracy()
    for row in [row for row in rows if row["truth"] == truth][:count]:
        row["verdicts"] = {**row["verdicts"], judge: verdict}
    assert [bar["met"] for bar in make("accuracy", rows)["bars"]].count(False) == missed


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("fault", {"passed": True}),
        ("sound", {"failed": True}),
        ("fault", {"number": 99}),
        ("sound", {"seed": 8}),
    ],
)
def test_a_planted_sequence_that_goes_wrong_misses_a_bar(
    part: str, change: dict[str, Any], make: Callable[[str, Rows], dict[str, Any]]
) -> None:
    """A fault that passes, an accused variant, a missing case and a case of another seed each miss a bar."""
    rows = planted_sequences()
    number = next(at for at, row in enumerate(rows) if row["part"] == part)
    rows[number] |= change
    assert make("sequences-planted", rows)["passed"] is False
    assert make("sequences-planted", planted_sequences()[1:])["passed"] is False


@pytest.mark.parametrize(
    ("precision", "change"),
    [
        ("fp32", {"verdict": "inconclusive"}),
        ("int8", {"cause": ""}),
        ("int8", {"longest": 20.0}),
        ("int8", {"check": "int8.ranges"}),
    ],
)
def test_a_real_recurrent_model_that_goes_wrong_misses_a_bar(
    precision: str, change: dict[str, Any], make: Callable[[str, Rows], dict[str, Any]]
) -> None:
    """FP32 that does not pass, INT8 that fails without a cause, short recordings or a missing check miss a bar."""
    rows = heard_models()
    next(row for row in rows if row["precision"] == precision).update(change)
    assert make("sequences-speech", rows)["passed"] is False


def test_a_step_that_costs_too_much_misses_a_bar(make: Callable[[str, Rows], dict[str, Any]]) -> None:
    """A step that costs more than 30 µs and more than 2 % of the bare step misses a bar, and so do too few pairs."""
    rows = [{**row, "agent": row["bare"] + 31e-6} for row in cost_of_steps()]
    assert [bar["met"] for bar in make("sequences-cost", rows)["bars"]] == [False, False]
    large = [{**row, "bare": 2e-3, "agent": 2e-3 + 31e-6} for row in rows]
    assert [bar["met"] for bar in make("sequences-cost", large)["bars"]] == [True, True]
    assert [bar["met"] for bar in make("sequences-cost", cost_of_steps()[1:])["bars"]] == [False, True]


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        ({"met": False}, 3),
        ({"trials": [{"holds": True, "missed": {}}]}, 3),
        ({"trials": [{"holds": False, "missed": {}}, {"holds": True, "missed": {}}]}, 3),
        ({"model": "1"}, 3),
        ({"builds": 26}, 1),
        ({"share": 0.79}, 1),
    ],
)
def test_a_model_that_was_not_tuned_misses_a_bar(
    change: dict[str, Any], missed: int, make: Callable[[str, Rows], dict[str, Any]]
) -> None:
    """Full INT8 that misses nothing, tolerances that hold in no build, too many builds or a small share miss a bar."""
    first, *rest = tuned()
    assert [bar["met"] for bar in make("int8-tune", [{**first, **change}, *rest])["bars"]].count(False) == missed
