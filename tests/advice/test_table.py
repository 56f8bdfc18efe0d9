"""Advice: each rule quotes the measured numbers, and gives no advice without them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.advice import LONGEST, MOST, RULES, advised
from hil.gate.gate import seal
from hil.report import html, markdown, terminal
from hil.report.consistency import problems
from hil.report.schema import count
from hil.results import CheckResult, Limit, Measurement, Sense, Verdict
from hil.series import digest_of
from tests.report import sample

FAILED: dict[str, Any] = {"verdict": Verdict.FAILED, "reason": "not good"}
UNSETTLED: dict[str, Any] = {"verdict": Verdict.INCONCLUSIVE, "reason": "not settled"}
MIB = 2.0**20
GRAPH = {**sample.METHOD, "cuda_graph": False, "streams": 1}
ROWS = sample.checks(("arm",), ("fp32", "fp16", "int8"))


def measured(value: float, unit: str, **more: Any) -> Measurement:
    """Return a measurement with the sample report's method and environment."""
    about = {"method": digest_of(sample.METHOD), "environment": digest_of(sample.ENVIRONMENT)}
    return Measurement(**{"value": value, "unit": unit, "n": 4096, **about, **more})


def limit(value: float, unit: str, sense: Sense = Sense.AT_MOST) -> Limit:
    """Return a limit."""
    return Limit(value=value, unit=unit, sense=sense, source="hil.toml:3")


def advice_by_row(rows: dict[str, dict[str, Any]], **changes: Any) -> dict[str, str]:
    """Change ``rows`` of ``arm`` in a passing run; return each row's advice as one text, by ``id precision``."""
    checks = []
    for row in ROWS:
        for name, change in rows.items():
            if f"{row.id} {row.precision}".startswith(name):
                row = CheckResult.model_validate({**row.model_dump(), **change})  # noqa: PLW2901 - changed in turn
        checks.append(row)
    report = advised(sample.draft(tuple(checks), **changes))
    assert list(problems(report.model_copy(update={"totals": count(report.checks)}))) == []
    return {f"{row.id} {row.precision}": " | ".join(row.advice) for row in report.checks if row.advice}


def slow(value: float, **more: Any) -> dict[str, Any]:
    """Return the changes for a latency over its limit."""
    return {**FAILED, "measurement": measured(value, "s", low=value, high=value, confidence=0.99), **more}


def nodes(*shares: float) -> dict[str, Any]:
    """Return details with the slowest layers."""
    ranked = [{"name": f"Conv_{n}", "op": "Conv", "seconds": share, "share": share} for n, share in enumerate(shares)]
    return {"slowest_nodes": ranked}


CASES: list[tuple[str, dict[str, dict[str, Any]], str, str]] = [
    ("one layer", {"latency.p99": slow(0.00625, details=nodes(0.5, 0.1))}, "latency.p99 fp32",
     "the time must shrink by 20%; Conv_0 takes 50%: speeding it up 1.67 times would be enough"),
    ("some layers", {"latency.p99": slow(0.01, details=nodes(0.3, 0.3, 0.2))}, "latency.p99 fp32",
     "no layer takes that much alone, but Conv_0, Conv_1 together do (60%)"),
    ("no layer", {"latency.p99": slow(0.1, details=nodes(0.3, 0.3))}, "latency.p99 fp32",
     "the time must shrink by 95%, and the 2 slowest layers take only 60%"),
    ("lower precision", {"latency.p99 fp32": slow(0.006)}, "latency.p99 fp32",
     "int8 of arm meets this limit here, with 1.094 ms (parity.task passed)"),
    ("stall", {"fps.slowest_second fp32": {**FAILED, "measurement": measured(2.0, "1/s"), "details":
     {"at_seconds": 3.5, **nodes(0.9)}}}, "fps.slowest_second fp32", "1,181 /s overall but only 2.0 /s from 3.5 s on"),
    ("frame", {"fps.sustained": {**FAILED, "measurement": measured(20.0, "1/s")}}, "fps.sustained fp32",
     "a frame takes 50 ms but may take only 33.33 ms"),
    ("throttled", {"latency.p99": slow(0.006, details={"state": [{"kind": "throttle", "source": "own",
     "text": "gpu-alert became active as gpu went from 50.0 to 97.0 °C"}]})}, "latency.p99 fp16",
     "gpu-alert became active as gpu went from 50.0 to 97.0 °C: improve the cooling"),
    ("more samples", {"latency.p99 fp32": {**UNSETTLED, "measurement": measured(0.0049, "s", low=0.004, high=0.006),
     "details": {"samples_missing": 1000}}}, "latency.p99 fp32",
     "1,000 more samples take about 846.5 ms: raise [measure] budget to 5 s or more"),
    ("never settles", {"latency.p99 fp32": {**UNSETTLED, "measurement": measured(0.005, "s", low=0.004, high=0.00625),
     "details": {"samples_missing": None}}}, "latency.p99 fp32", "20.0% faster, or justify a limit of 6.25 ms"),
    ("warm up", {"latency.p99 fp32": {**UNSETTLED, "details": {"drift": -0.00076}}}, "latency.p99 fp32",
     "the engine got 50% faster during timing: raise [measure] warmup"),
    ("heats", {"latency.p99 fp32": {**UNSETTLED, "details": {"drift": 0.00076}}}, "latency.p99 fp32",
     "the engine got 50% slower during timing"),
    ("cold", {"latency.cold_load": {**FAILED, "measurement": measured(0.9, "s"), "details": {"repeats": [0.9, 0.1]}}},
     "latency.cold_load fp32", "only the first of 2 repeats exceeds the limit (900 ms, then at most 100 ms)"),
    ("paced", {"paced.missed": {**FAILED, "measurement": measured(1.0, "1"), "details": {"rate": 1000.0}}},
     "paced.missed fp32", "arrives every 1 ms and an inference takes 1.52 ms (p99): the engine sustains 658 /s"),
    ("woken late", {"paced.missed": {**FAILED, "measurement": measured(1.0, "1"), "details":
     {"rate": 30.0, "late_wakeup_p99": 0.03, "response_p99": 0.04}}}, "paced.missed fp32",
     "30 ms of the 40 ms response time (p99) is spent waiting for the processor"),
    ("slows down", {"sustained.slowdown": {**FAILED, "measurement": measured(0.3, "1"), "details":
     {"thirds_p99": [0.004, 0.005, 0.0052], "steady_since": 92.0}}}, "sustained.slowdown fp32",
     "p99 went from 4 ms to 5.2 ms and was steady from 92 s on"),
    ("runtime alone", {"memory.peak": {**FAILED, "measurement": measured(900 * MIB, "B"), "details":
     {"baseline": 600 * MIB}}}, "memory.peak fp32", "the bare runtime takes 600 MiB before the model is loaded"),
    ("model's part", {"memory.peak": {**FAILED, "measurement": measured(900 * MIB, "B"), "details":
     {"baseline": 100 * MIB}}}, "memory.peak fp32", "uses 800 MiB of 900 MiB; the limit leaves 412 MiB for it"),
    ("activations", {"memory.peak": {**FAILED, "measurement": measured(900 * MIB, "B"), "details":
     {"device_memory_size": 500 * MIB}}}, "memory.peak fp32", "activations and scratch take 500 MiB of 900 MiB"),
    ("build peak", {"memory.peak": {**FAILED, "measurement": measured(900 * MIB, "B"), "details":
     {"build_peak": {"rss": 3000 * MIB}}}}, "memory.peak fp32", "building the engine took 2.93 GiB"),
    ("fits in int8", {"memory.engine_size fp32": {**FAILED, "measurement": measured(5e6, "B")}},
     "memory.engine_size fp32", "fp16 of arm meets the limit, with 305.2 KiB"),
    ("prune", {"memory.engine_size int8": {**FAILED, "measurement": measured(5e6, "B")}},
     "memory.engine_size int8", "3.815 MiB must be saved (80%)"),
    ("machine", {"memory.system": {**FAILED, "measurement": measured(0.95, "1"), "details":
     {"used": 7600 * MIB, "total": 8000 * MIB}}}, "memory.system fp32",
     "is not this model's, and that alone exceeds the limit of"),
    ("leak", {"memory.growth": {**FAILED, "measurement": measured(2 * MIB, "B/1000 inferences")}}, "memory.growth fp32",
     "at 1,181 /s the process leaks 8.307 GiB per hour"),
    ("soak", {"memory.growth": {**UNSETTLED, "measurement": measured(1e5, "B/1000 inferences", low=-1e6, high=2e6,
     confidence=0.99), "details": {"inferences": 2000.0}}}, "memory.growth fp32", "set [measure] soak to 4000"),
    ("small leak", {"memory.growth": {**UNSETTLED, "measurement": measured(1e5, "B/1000 inferences", low=-1e6, high=2e6,
     confidence=0.99), "details": {"inferences": 1000.0, "smallest_visible": 3.0 * MIB}}}, "memory.growth fp32",
     "set [measure] soak to 4100"),
    ("quantization's own", {"parity.outputs int8": FAILED}, "parity.outputs int8",
     "parity.outputs passes in fp32 and fp16 on the same target: only int8 causes the loss"),
    ("the build's", {"parity.outputs": FAILED}, "parity.outputs int8", "fails in fp32 and fp16 too"),
    ("which output", {"parity.outputs fp32": {**FAILED, "details": {"outputs": [{"output": "boxes", "met": False,
     "use": 3.2}, {"output": "scores", "met": True, "use": 0.4}]}}}, "parity.outputs fp32",
     "1 of 2 outputs exceed their tolerance: boxes (3.2 times the tolerance); 1 within"),
    ("one sample", {"parity.outputs fp32": {**FAILED, "details": {"outputs": [{"output": "y", "met": False, "use": 2.0,
     "metrics": {"cosine": 0.999}, "worst_cosine": 0.5, "worst_cosine_sample": 17}]}}}, "parity.outputs fp32",
     "sample 17 is an outlier (cosine 0.5, the mean is 0.999)"),
    ("calibration at fault", {"int8.drop": FAILED, "int8.calibration_set": FAILED}, "int8.drop int8",
     "the calibration data is at fault (int8.calibration_set): fix it first"),
    ("keep in float", {"int8.drop": FAILED, "parity.outputs int8": {**FAILED, "details": {"diagnosis": {"kept_in_float":
     {"nodes": ["Conv_4"], "before": 0.42, "after": 0.031, "samples": 4}}}}}, "int8.drop int8",
     "tried on this target with 4 samples, the error of the worst output channel falls from 0.42 to 0.031"),
    ("score saved", {"int8.drop": FAILED, "parity.outputs int8": {**FAILED, "details": {"diagnosis": {"kept_in_float":
     {"nodes": ["Conv_4"], "before": 0.42, "after": 0.31, "samples": 4, "score": {"before": 0.3, "after": 0.02,
     "samples": 256, "tolerance": 0.01}}}}}}, "int8.drop int8", "the loss of score from 0.3 to 0.02 (of 256 samples)"),
    ("signal ends", {"parity.task int8": {**FAILED, "details": {"signal_end": {"text": "the signal ends at 'n'"}}}},
     "parity.task int8", "the signal ends at 'n': examine that node first, also with hil diagnose arm --precision"),
    ("no end known", {"int8.drop": FAILED, "parity.task int8": {**FAILED, "details": {"signal_end": {"why_not":
     "built elsewhere"}}}}, "int8.drop int8", "the node at which the signal ends is not known: built elsewhere"),
    ("calibration", {"parity.task int8": FAILED}, "parity.task int8", "come from 256 samples by entropy: try minmax"),
    ("few samples", {"parity.task fp32": {**UNSETTLED, "measurement": measured(0.0, "1", low=0.0, high=0.03, n=100,
     confidence=0.95), "limit": limit(0.01, "1")}}, "parity.task fp32",
     "even without any loss, excluding a loss of 1 % needs 299 samples; there are 100"),
    ("loss not settled", {"parity.task fp32": {**UNSETTLED, "measurement": measured(0.005, "1", low=0.0, high=0.015,
     n=100, confidence=0.95), "limit": limit(0.01, "1")}}, "parity.task fp32", "about 400 validation samples"),
    ("int8 brought nothing", {"int8.speedup": {**FAILED, "measurement": measured(0.9, "x")},
     "latency.p50 fp16": {"measurement": measured(0.0001, "s", low=0.0001, high=0.0001, confidence=0.99)}},
     "int8.speedup int8",
     "94 % of the layers that benefit from INT8 run in it (placement.int8_layers) | fp16 takes 100 µs"),
    ("fell back", {"placement.dla_fallback": {**FAILED, "details": {"on_gpu": list("abcd"), "moves": 2}}},
     "placement.dla_fallback fp16", "on the GPU: a, b, c and 1 more, with 2 copies between GPU and DLA"),
    ("gpu client", {"latency.p99": {**UNSETTLED, "details": {"state": [{"kind": "gpu_clients", "source": "outside",
     "text": "Xorg (process 812) used the GPU; if it may, add 'Xorg' to gpu_clients"}]}}}, "latency.p99 fp32",
     "stop the service of Xorg (process 812) while measuring"),
    ("supply", {"latency.p99": {**UNSETTLED, "details": {"state": [{"kind": "over_current", "source": "outside",
     "text": "over-current counter oc1 rose by 3"}]}}}, "latency.p99 fp32", "rose by 3: the power supply is too weak"),
    ("swap", {"latency.p99": {**UNSETTLED, "details": {"state": [{"kind": "swap", "source": "outside",
     "text": "swap grew by 12 MiB"}]}}}, "latency.p99 fp32", "swap grew by 12 MiB: free memory"),
    ("another JetPack", {"contract.signature": {**FAILED, "reason": "model arm: the engine was not written by this "
     "version of TensorRT"}}, "contract.signature fp32", "rebuild it on cpu: without engine in [models.arm]"),
    ("more runs", {"regression.latency_p50": {**UNSETTLED, "details": {"runs_needed": 9, "visible": 0.08}}},
     "regression.latency_p50 fp32", ("this run would have detected a change of 8 % in 90 % of cases: "
     "take 9 runs per side, with --hil-runs=9")),
    ("noisy", {"regression.latency_p50": {**UNSETTLED, "details": {"runs_needed": None, "visible": 0.08}}},
     "regression.latency_p50 fp32", ("would have detected a change of 8 % in 90 % of cases, but 5 % must be excluded: "
     "reduce the target's noise")),
    ("steps are wrong", {"sequence.free_running fp32": FAILED, "sequence.teacher_forced fp32": {**FAILED, "details":
     {"diagnosis": {"step": {"sequence": 2, "step": 37}}}}}, "sequence.free_running fp32",
     "sequence.teacher_forced is failed, as in step 37 of sequence 2: correct the single step first"),
    ("between steps", {"sequence.free_running fp32": {**FAILED, "details": {"cause": "the state 'h' is late"}}},
     "sequence.free_running fp32", "each single step is right (sequence.teacher_forced passed)"),
    ("adds up", {"sequence.free_running int8": FAILED}, "sequence.free_running int8", "and the errors add up"),
    ("longer sequences", {"sequence.free_running fp32": {**UNSETTLED, "details": {"lengths": [200, 320], "horizon":
     [{"output": "y", "growth": {"reaches_limit_at": 900.5}}]}}}, "sequence.free_running fp32",
     "record sequences of about 901 steps (320 now): there the error of y would reach its limit"),
    ("more sequences", {"sequence.teacher_forced int8": {**UNSETTLED, "measurement": measured(0.06, "1", low=0.0,
     high=0.14, n=5, confidence=0.95), "limit": limit(0.1, "1")}}, "sequence.teacher_forced int8",
     "about 20 distinct sequences would settle it; there are 5"),
    ("left over", {"sequence.reset fp32": FAILED}, "sequence.reset fp32", "set it to its first value where a sequence"),
    ("leaks", {"sequence.isolation fp32": FAILED}, "sequence.isolation fp32", "an operation over the batch axis"),
    ("state clips", {"int8.ranges": {**FAILED, "details": {"states": [{"name": "h", "top": 1.0, "peak": 2.5,
     "sequence": 3}]}}}, "int8.ranges int8", "the state h reaches 2.5 in sequence 3, its range ends at 1"),
    ("one cause", {"regression.latency_p50": FAILED, "regression.memory": FAILED}, "regression.latency_p50 fp32",
     "worse as well: regression.memory 0.05 %"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "where", "quote"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_advice_quotes_the_measured_numbers(rows: dict[str, dict[str, Any]], where: str, quote: str) -> None:
    """Each case's advice quotes the measured numbers."""
    assert quote in advice_by_row(rows)[where]


def test_every_rule_has_a_case() -> None:
    """Every rule gives advice in at least one case."""
    names = {rule.__name__ for rule in RULES}
    covered = set()
    for _, rows, _, _ in [*CASES, HOST]:
        for row in ROWS:
            for name, change in rows.items():
                if f"{row.id} {row.precision}".startswith(name):
                    changed = CheckResult.model_validate({**row.model_dump(), **change})
                    report = host_report(changed)
                    covered |= {rule.__name__ for rule in RULES if list(rule(changed, report))}
    assert names - covered <= {"quantize", "others", "lower_precision", "three_ways", "regressed", "not_faster"}, (
        "rules that need a second row have cases of their own"
    )


def host_report(changed: CheckResult) -> Any:
    """Return the sample report with one changed row."""
    from hil.advice.report_facts import Around

    rows = tuple(changed if row.key == changed.key else row for row in ROWS)
    method = {digest_of(GRAPH): GRAPH, digest_of(sample.METHOD): sample.METHOD}
    return Around(sample.draft(rows, methods=method))


HOST: tuple[str, dict[str, dict[str, Any]], str, str] = (
    "host bound",
    {
        "latency.p50 fp32": {
            **FAILED,
            "measurement": measured(0.004, "s", low=0.004, high=0.004, confidence=0.99, method=digest_of(GRAPH)),
            "details": {"device_p50": 0.001},
        }
    },
    "latency.p50 fp32",
    "the device computes during only 1 ms of the 4 ms of latency.p50 (25%), the rest is launch overhead: set",
)


def test_a_host_bound_engine_is_advised_to_use_a_cuda_graph() -> None:
    """A device time far below the host time without a CUDA graph leads to the advice to use one."""
    methods = {digest_of(GRAPH): GRAPH, digest_of(sample.METHOD): sample.METHOD}
    assert HOST[3] in advice_by_row(HOST[1], methods=methods)[HOST[2]]


def test_a_failure_without_a_number_has_no_advice() -> None:
    """A failed row without details has no advice."""
    rows = {"parity.outputs fp32": FAILED, "contract.shapes": FAILED, "latency.cold_load": FAILED}
    assert advice_by_row(rows) == {}


def test_a_step_is_blamed_only_if_it_failed() -> None:
    """An undecided or warned row of single steps does not show whether the step or the state is at fault."""
    for other in (UNSETTLED, {"verdict": Verdict.WARNED}):
        rows = {"sequence.free_running fp32": FAILED, "sequence.teacher_forced fp32": other}
        assert "sequence.free_running fp32" not in advice_by_row(rows)


def test_one_number_of_samples_is_named() -> None:
    """If a loss is a share of answers, only the row's reason states how many samples are needed, not the advice."""
    bounds = {"low": 0.01, "high": 0.11, "n": 79, "confidence": 0.95}
    row = {**UNSETTLED, "measurement": measured(0.04, "1", **bounds), "limit": limit(0.05, "1")}
    assert "would settle it" in advice_by_row({"int8.drop": row})["int8.drop int8"]
    assert advice_by_row({"int8.drop": {**row, "details": {"answers": {}}}}) == {}


def test_advice_is_shown_in_every_format() -> None:
    """Page, summary and terminal show a row's own advice instead of the general next step."""
    report = seal(advised(sample.with_row(sample.draft(), "latency.p99", **slow(0.00625, details=nodes(0.5)))))
    row = next(row for row in report.checks if row.id == "latency.p99")
    assert row.advice
    for text in (html.render(report), markdown.render(report), " ".join(terminal.as_text(report, width=160).split())):
        assert "Conv" in text
        assert "up 1.67 times" in text
        assert "see the slowest nodes" not in text


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = ("slowest_nodes", "state", "repeats", "outputs", "diagnosis", "baseline", "device_p50", "drift", "thirds_p99",
        "samples_missing", "rate", "late_wakeup_p99", "response_p99", "used", "total", "on_gpu", "not_int8", "moves",
        "inferences", "runs_needed", "visible", "build_peak", "device_memory_size", "steady_since")  # fmt: skip
finite = st.floats(allow_nan=False, allow_infinity=False)
measurements = st.builds(
    Measurement, value=finite, unit=st.sampled_from(["s", "B", "1/s", "1"]), low=st.none() | finite,
    high=st.none() | finite, confidence=st.none() | st.floats(0.5, 0.999), n=st.integers(0, 10**6),
)  # fmt: skip
changes = st.fixed_dictionaries({
    "verdict": st.sampled_from(Verdict),
    "measurement": st.none() | measurements,
    "details": st.dictionaries(st.sampled_from(KEYS), json | finite | st.lists(finite, max_size=4), max_size=8),
})  # fmt: skip


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, len(ROWS) - 1), changes), max_size=8))
def test_only_rows_that_did_not_pass_have_advice(changed: list[tuple[int, dict[str, Any]]]) -> None:
    """Whatever its numbers, a passed row gets no advice, and any other row at most ``MOST`` short, distinct lines."""
    rows = list(ROWS)
    for at, change in changed:
        rows[at] = rows[at].model_copy(update=change)
    for row in advised(sample.draft(tuple(rows))).checks:
        assert not (row.advice and row.verdict is Verdict.PASSED)
        assert len(set(row.advice)) == len(row.advice) <= MOST
        assert all(0 < len(text) <= LONGEST and "\n" not in text for text in row.advice)
        assert not any("nan" in text or "inf " in text for text in row.advice)


def test_a_report_with_advice_for_a_pass_is_inconsistent() -> None:
    """A report in which a passed row has advice is reported as inconsistent."""
    report = sample.with_row(sample.draft(), "latency.p99", advice=("make it faster",))
    assert any("has advice" in problem for problem in problems(report))
