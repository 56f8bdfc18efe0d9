"""List the checks of the stock suites: the question that each answers, its test, and the key of its limit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hil.results import Sense

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class LimitKey:
    """The key of a limit in ``hil.toml`` and its meaning.

    Attributes:
        path: the key, relative to ``[models.NAME.limits]``.
        unit: the unit of the limit.
        sense: whether the limit is a maximum or a minimum.
        default: the limit if the config has none; ``None`` for no limit.
        default_reason: why the default has this value.
        fail_factor: the warning band ends at this factor times the limit; ``None`` for no band.
        default_for: the precisions to which the default applies, each with the default's own ``fail_factor``; ``None``
            for all precisions.
    """

    path: tuple[str, ...]
    unit: str
    sense: Sense = Sense.AT_MOST
    default: float | None = None
    default_reason: str = ""
    fail_factor: float | None = None
    default_for: Mapping[str, float | None] | None = None


@dataclass(frozen=True)
class CheckKind:
    """One kind of check, which is planned for each model and precision that it applies to.

    A check that a policy names by its exact id ignores ``needs_task``, ``needs_node``, ``brought`` and
    ``only_limited``.

    Attributes:
        id: the id of its rows, such as ``latency.p99``.
        question: what it answers, as a question to the user.
        test: its test, as ``FILE::FUNCTION`` in the stock suites.
        limit: the key of its limit; ``None`` for a check with a fixed criterion.
        needs_target: its result is meaningless on any machine but the requested target.
        on_host: the host does its work without the engine, so its evidence is at most ``host``.
        precisions: the precisions it applies to; ``None`` for all.
        needs_task: it is planned only for models with a task.
        needs_node: it is planned only for models with an ``isaac_ros`` file.
        needs_layers: its default limit applies only to a runtime that reports what each layer executes.
        brought: it is planned only for an ONNX file that somebody else quantized.
        only_limited: it is planned only if it has a limit.
        recurrent: whether it applies to models with a state (true) or to those without (false); ``None`` for all.
        scenario: the measurement that it is judged from, such as ``saturated`` or ``paced``; empty for other checks.
        regresses: the id of the check whose values are compared with a baseline; empty if this is not a regression
            check.
    """

    id: str
    question: str
    test: str
    limit: LimitKey | None = None
    needs_target: bool = False
    on_host: bool = False
    precisions: frozenset[str] | None = None
    needs_task: bool = False
    needs_node: bool = False
    needs_layers: bool = False
    brought: bool = False
    only_limited: bool = False
    recurrent: bool | None = None
    scenario: str = ""
    regresses: str = ""


INT8 = frozenset({"int8"})
QUANTIZED = frozenset({"int8", "fp8", "fp4", "int4"})
DLA = frozenset({"fp16", "int8"})
"""The precisions that a DLA supports."""
NUMERIC = frozenset({"fp32", "tf32", "fp16"})
"""The precisions that are accurate enough to compare outputs for arbitrary input."""

FPS = LimitKey(("fps",), "1/s", Sense.AT_LEAST, fail_factor=0.8)


def _latency(name: str, question: str, path: tuple[str, ...], scenario: str) -> CheckKind:
    test = f"test_latency.py::test_{name}"
    return CheckKind(f"latency.{name}", question, test, LimitKey(path, "s"), needs_target=True, scenario=scenario)


def _fps(name: str, question: str) -> CheckKind:
    return CheckKind(f"fps.{name}", question, f"test_fps.py::test_{name}", FPS, needs_target=True, scenario="saturated")


def _paced(name: str, question: str, key: str, unit: str) -> CheckKind:
    test, limit = f"test_paced.py::test_{name}", LimitKey(("paced", key), unit)
    return CheckKind(f"paced.{name}", question, test, limit, needs_target=True, only_limited=True, scenario="paced")


def _sustained(name: str, question: str, unit: str, sense: Sense = Sense.AT_MOST) -> CheckKind:
    test, limit = f"test_sustained.py::test_{name}", LimitKey(("sustained", name), unit, sense)
    return CheckKind(
        f"sustained.{name}", question, test, limit, needs_target=True, only_limited=True, scenario="sustained"
    )


def _memory(name: str, question: str, limit: LimitKey) -> CheckKind:
    return CheckKind(f"memory.{name}", question, f"test_memory.py::test_{name}", limit, needs_target=True)


def _int8(name: str, question: str, limit: LimitKey | None = None, *, needs_target: bool = False) -> CheckKind:
    test = f"test_int8.py::test_{name}"
    return CheckKind(f"int8.{name}", question, test, limit, needs_target=needs_target, precisions=INT8)


def _placement(name: str, question: str, limit: LimitKey, precisions: frozenset[str] | None = None) -> CheckKind:
    test = f"test_placement.py::test_{name}"
    return CheckKind(f"placement.{name}", question, test, limit, needs_target=True, precisions=precisions)


def _plain(
    family: str, name: str, question: str, *, needs_task: bool = False, recurrent: bool | None = None
) -> CheckKind:
    test = f"test_{family}.py::test_{name}"
    return CheckKind(f"{family}.{name}", question, test, needs_task=needs_task, recurrent=recurrent)


def _sequence(name: str, question: str) -> CheckKind:
    return _plain("sequence", name, question, recurrent=True)


def _regression(name: str, question: str, of: str, limit: LimitKey, *, needs_task: bool = False) -> CheckKind:
    kind = CheckKind(f"regression.{name}", question, f"test_regression.py::test_{name}", limit, needs_target=True)
    return replace(kind, regresses=of, needs_task=needs_task)


_CEILING = "the robot needs the rest of the memory: the project's design sets this ceiling"
_LEAK = "a leak of 1 MiB in 1,000 inferences fills a board's memory within days"
ABOVE, EXCLUDE = 0.01, 0.05
"""Default limits of a regression, as fractions: a significant worsening by more than ``ABOVE`` fails; to pass, the data
must exclude a worsening by ``EXCLUDE``."""
_WORSE = LimitKey(
    ("regression", "exclude"), "1", Sense.AT_MOST, EXCLUDE, "what a few runs can exclude on a noisy board"
)
_EXACT = LimitKey(("regression", "above"), "1", Sense.AT_MOST, ABOVE, "two builds of one engine may differ by this")

_CLIPPED = LimitKey(
    ("int8_clipping",),
    "1",
    Sense.AT_MOST,
    0.05,
    "good calibrations of the bundled models clip up to 4.7 % of a tensor's values, with under 1 % of its energy",
)

_IN_PRECISION = LimitKey(
    ("in_precision",),
    "1",
    Sense.AT_LEAST,
    0.1,
    "an engine that computes less than a tenth in the requested precision is an engine of another precision",
    # A builder that chooses precisions may prefer fp32 for a small network: only warned of.
    default_for={"int8": None, "fp8": None, "fp4": None, "fp16": 0.0, "bf16": 0.0},
)

KINDS: tuple[CheckKind, ...] = (
    _plain("contract", "signature", "Are the engine's inputs and outputs those of the model?"),
    _plain("contract", "shapes", "Does the engine accept every shape the model allows, and no other?"),
    _plain("contract", "bad_input", "Does the engine reject invalid input?"),
    replace(
        _plain("contract", "isaac_ros", "Does the configuration of the robot's Isaac ROS node match this engine?"),
        needs_node=True,
    ),
    replace(
        _plain("parity", "data", "Is the validation data real, sufficient and not part of the training data?"),
        on_host=True,
    ),
    _plain("parity", "outputs", "Do the engine's outputs match the reference?", recurrent=False),
    _plain("parity", "repeatable", "Does the same batch give the same outputs twice, bit for bit?", recurrent=False),
    _sequence("teacher_forced", "Does each step match the reference if it begins with the reference's state?"),
    _sequence("free_running", "Do whole sequences match the reference if the engine is fed with its own state?"),
    _sequence("reset", "Does a sequence give the same outputs again after another one?"),
    _sequence("isolation", "Do sequences that run at the same time leave each other's state alone?"),
    _plain("parity", "task", "Does the engine do the task as well as the reference?", needs_task=True),
    replace(
        _plain("property", "parity", "Do outputs match the reference for every input that the signature allows?"),
        precisions=NUMERIC,
    ),
    _plain("property", "stable", "Does every valid batch give finite, repeatable outputs of the declared shapes?"),
    replace(_int8("calibration", "Did calibration run on the declared data?"), on_host=True),
    replace(_int8("cache", "Do the ranges in use belong to this model and data?"), precisions=QUANTIZED),
    replace(
        _int8(
            "calibration_set", "Is the calibration data sufficient, varied, and preprocessed like the validation data?"
        ),
        on_host=True,
    ),
    replace(
        _int8("ranges", "Do the ranges fit the activations of the validation data?", _CLIPPED),
        precisions=frozenset({"int8", "fp8"}),
    ),
    _int8("repeatable", "Does calibrating again reproduce the ranges in use?"),
    replace(_int8("disjoint", "Is the validation data absent from the calibration data?"), on_host=True),
    replace(
        _int8("drop", "How much accuracy does quantization lose against FP32 on the same target?"),
        recurrent=False,
        precisions=QUANTIZED,
    ),
    _latency("p50", "What is the median latency?", ("latency", "p50"), "saturated"),
    _latency("p90", "What is the 90th percentile of the latency?", ("latency", "p90"), "saturated"),
    _latency("p99", "What is the 99th percentile of the latency?", ("latency", "p99"), "saturated"),
    _latency("cold_load", "How long does it take to load the engine?", ("cold_load",), "cold"),
    _latency("first_inference", "How long does the first inference take?", ("first_inference",), "cold"),
    _fps("sustained", "What is the frame rate over the whole series?"),
    _fps("slowest_second", "How many frames are completed in the slowest second?"),
    _fps("last_100", "What is the lowest frame rate over 100 consecutive frames?"),
    _paced("response_p99", "What is the 99th percentile of the response time at the camera's rate?", "p99", "s"),
    _paced("missed", "What share of inferences misses the deadline?", "missed", "1"),
    _paced("streak", "How many consecutive inferences miss the deadline?", "streak", "releases"),
    _paced("jitter", "How much do response times vary?", "jitter", "s"),
    _sustained("p99", "What is the 99th percentile of the latency after minutes of load?", "s"),
    _sustained("fps", "What is the frame rate after minutes of load?", "1/s", Sense.AT_LEAST),
    _sustained("slowdown", "How much slower does the model become after minutes of load?", "1"),
    CheckKind(
        "energy.inference",
        "How much energy does the board use per inference?",
        "test_energy.py::test_inference",
        LimitKey(("energy",), "J"),
        needs_target=True,
        only_limited=True,
        scenario="saturated",
    ),
    _int8(
        "speedup",
        "How much faster is INT8 than FP32?",
        LimitKey(("int8_speedup",), "x", Sense.AT_LEAST),
        needs_target=True,
    ),
    replace(
        _plain("placement", "declared", "Is the ONNX file quantized as the precision claims?"),
        on_host=True,
        precisions=QUANTIZED,
        brought=True,
    ),
    replace(
        _placement("in_precision", "How much of the network runs in the requested precision?", _IN_PRECISION),
        needs_layers=True,
        only_limited=True,
    ),
    _placement(
        "int8_layers",
        "Do the layers that benefit from INT8 run in INT8?",
        LimitKey(("int8_layers",), "1", Sense.AT_LEAST),
        INT8,
    ),
    _placement(
        "dla_fallback",
        "Do the layers of an engine built for a DLA run there?",
        LimitKey(("dla_fallback",), "layers"),
        DLA,
    ),
    replace(
        _latency("speedup", "How much faster is this precision than another one?", ("speedup", "least"), ""),
        limit=LimitKey(("speedup", "least"), "x", Sense.AT_LEAST),
        only_limited=True,
    ),
    _memory("peak", "What is the peak memory of the worker process?", LimitKey(("memory",), "B")),
    _memory("model", "How much memory does the model add to the bare runtime?", LimitKey(("model_memory",), "B")),
    _memory(
        "system",
        "What share of the machine's memory is in use at the peak?",
        LimitKey(("system_memory",), "1", Sense.AT_MOST, 0.85, _CEILING),
    ),
    _memory("engine_size", "How large is the engine file?", LimitKey(("engine_size",), "B")),
    _memory(
        "growth",
        "How much memory do 1,000 inferences leave allocated?",
        LimitKey(("memory_growth",), "B/1000 inferences", Sense.AT_MOST, 2.0**20, _LEAK),
    ),
    _regression("latency_p50", "Is the median latency worse than the baseline's?", "latency.p50", _WORSE),
    _regression(
        "latency_p99", "Is the 99th percentile of the latency worse than the baseline's?", "latency.p99", _WORSE
    ),
    _regression("fps", "Is the frame rate lower than the baseline's?", "fps.sustained", _WORSE),
    _regression("memory", "Is the peak memory larger than the baseline's?", "memory.peak", _WORSE),
    _regression("engine_size", "Is the engine file larger than the baseline's?", "memory.engine_size", _EXACT),
    _regression("accuracy", "Is the task's score worse than the baseline's?", "parity.task", _EXACT, needs_task=True),
)
CATALOGUE: dict[str, CheckKind] = {kind.id: kind for kind in KINDS}
NOISY = frozenset({"latency.p50", "latency.p99", "fps.sustained", "memory.peak"})
"""The checks whose values are compared statistically, over several runs; all other compared values are exact."""
