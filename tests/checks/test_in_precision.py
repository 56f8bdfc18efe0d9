"""The share of an engine's multiply-adds in the requested precision; hidden layers make it an interval."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.checks.in_precision import in_precision
from hil.onnx_files.precisions import Precisions, WeightedNode
from hil.results import Cause, Limit, Sense, Verdict

TENTH = Limit(value=0.1, unit="1", sense=Sense.AT_LEAST, source="default")
ONLY_WARNED = TENTH.model_copy(update={"fail_at": 0.0})
EIGHTY = Limit(value=0.8, unit="1", sense=Sense.AT_LEAST, source="hil.toml:9")


def layer(name: str, *inputs: str | None, kind: str = "CaskConvolution", computed: str | None = None) -> dict[str, Any]:
    """Return a layer as the agent reports it; ``inputs`` are the types of its inputs."""
    types = list(inputs)
    precision = computed if computed is not None else next(iter(types), None)
    return {"name": name, "type": kind, "precision": precision, "inputs": types, "outputs": types, "device": "gpu"}


def model(*sizes: int | None, declared: str = "float32") -> Precisions:
    """Return a model whose nodes ``n0``, ``n1`` … have so many multiply-adds."""
    return Precisions(
        tuple(WeightedNode(f"n{at}", "Conv", declared, multiply_adds=size) for at, size in enumerate(sizes))
    )


def test_the_share_is_of_multiply_adds() -> None:
    """One large layer that fell back outweighs many small ones, and is named with the precision it runs in."""
    layers = [layer("n0", "fp16"), *(layer(f"n{at}", "int8") for at in range(1, 10))]
    judged = in_precision(layers, model(1000, *[1] * 9), "int8", TENTH)
    assert judged.verdict is Verdict.FAILED
    assert "n0 (fp16)" in judged.reason
    assert "9 of 10" in judged.reason
    assert in_precision(layers, model(*[7] * 10), "int8", TENTH).verdict is Verdict.PASSED


def test_without_shapes_the_share_is_of_nodes() -> None:
    """If one node's multiply-adds are unknown, each node counts the same, and the details state it."""
    layers = [layer("n0", "int8"), layer("n1", "fp16")]
    judged = in_precision(layers, model(1000, None), "int8", TENTH)
    assert judged.measurement is not None
    assert judged.measurement.value == 0.5
    assert judged.details["counted_by"] == "layers"


@pytest.mark.parametrize(
    ("asked", "inputs", "computed", "inside"),
    [
        ("int8", ["int8"], "int8", True),
        ("int8", ["fp16"], "int8", False),  # weights alone
        ("int8", ["fp16", "int8"], "int8", None),  # may be quantized within the layer
        ("fp8", ["fp8", "fp8"], "fp8", True),
        ("fp8", ["int8"], "int8", False),
        ("fp4", ["fp4", "fp8", "fp4", "fp8"], "fp4", True),
        ("int4", ["fp16", "int4"], "fp16", True),
        ("int4", ["fp16"], "fp16", False),
        ("fp16", ["fp16"], "fp16", True),
        ("fp16", ["fp32"], "tf32", False),
        ("fp32", ["fp32"], "tf32", False),
        ("tf32", ["fp32"], "tf32", True),
        ("tf32", ["fp32"], "fp32", False),
    ],
)
def test_where_a_layer_runs(asked: str, inputs: list[str], computed: str, inside: bool | None) -> None:
    """A layer runs in the type of its activations; TF32 is recognized by the kernel's name."""
    judged = in_precision([layer("n0", *inputs, computed=computed)], model(5), asked, EIGHTY)
    assert judged.verdict is {True: Verdict.PASSED, False: Verdict.FAILED, None: Verdict.INCONCLUSIVE}[inside]


HIDING = {"name": "{ForeignNode[n1...n3]}", "type": "Myelin", "precision": None, "inputs": ["fp32"], "outputs": []}


def test_what_is_hidden_is_an_interval() -> None:
    """If the share may lie on either side of the limit, the row is inconclusive, or warned if no share would fail."""
    straddling = in_precision([layer("n0", "int8"), HIDING], model(1, 5, 5, 5), "int8", EIGHTY)
    assert straddling.verdict is Verdict.INCONCLUSIVE
    assert straddling.measurement is not None
    assert (straddling.measurement.low, straddling.measurement.high) == (1 / 16, 1.0)
    assert "profilingVerbosity" in straddling.reason
    assert in_precision([layer("n0", "fp32"), HIDING], model(90, 5, 5, 5), "fp16", EIGHTY).verdict is Verdict.FAILED
    assert in_precision([layer("n0", "int8"), HIDING], model(90, 5, 5, 0), "int8", EIGHTY).verdict is Verdict.PASSED
    assert in_precision([HIDING], model(1, 1), "fp16", ONLY_WARNED).verdict is Verdict.WARNED
    assert in_precision([HIDING], model(1, 1), "int8", TENTH).verdict is Verdict.INCONCLUSIVE


def test_a_default_of_a_weak_precision_only_warns() -> None:
    """Below the default limit fp32 layers are only warned of; below a written limit they fail."""
    layers = [layer("n0", "fp32"), layer("n1", "fp32")]
    assert in_precision(layers, model(1, 1), "fp16", ONLY_WARNED).verdict is Verdict.WARNED
    assert in_precision(layers, model(1, 1), "fp16", EIGHTY).verdict is Verdict.FAILED


def test_what_the_file_declares_decides_nothing() -> None:
    """A file that declares INT8 fails if its layers run in another type, and is inconclusive without layers."""
    declared = model(5, 5, declared="int8")
    assert in_precision([layer("n0", "fp16"), layer("n1", "fp16")], declared, "int8", TENTH).verdict is Verdict.FAILED
    assert in_precision([], declared, "int8", TENTH).verdict is Verdict.INCONCLUSIVE
    assert in_precision([], Precisions(), "int8", TENTH).verdict is Verdict.INCONCLUSIVE
    assert in_precision([], Precisions(), "fp16", ONLY_WARNED).verdict is not Verdict.PASSED


def test_nodes_without_names_are_in_the_layers_that_name_none() -> None:
    """Nodes without names have the precision of the unnamed layers, if these agree."""
    nameless = Precisions(tuple(WeightedNode("", "MatMul", "float32", multiply_adds=3) for _ in range(2)))
    agree = [layer("Conv_0", "int8"), layer("Conv_1", "int8")]
    assert in_precision(agree, nameless, "int8", EIGHTY).verdict is Verdict.PASSED
    assert in_precision(agree[:1], nameless, "int8", EIGHTY).verdict is Verdict.INCONCLUSIVE
    mixed = [layer("Conv_0", "int8"), layer("Conv_1", "fp16")]
    assert in_precision(mixed, nameless, "int8", EIGHTY).verdict is Verdict.INCONCLUSIVE


def test_a_node_in_two_layers_of_different_types_is_unknown() -> None:
    """A node in two layers of different types has an unknown precision."""
    layers = [layer("n0", "int8"), layer("n0 + relu", "fp16")]
    assert in_precision(layers, model(5), "int8", EIGHTY).verdict is Verdict.INCONCLUSIVE


def test_the_slowest_layers_are_named_first() -> None:
    """The slowest layers are named first, by the profile or else by multiply-adds."""
    layers = [layer(f"n{at}", "fp16") for at in range(4)]
    judged = in_precision(layers, model(1, 2, 3, 4), "int8", TENTH, {"n1": 0.5, "n0": 0.1})
    assert [one["layer"] for one in judged.details["fell_back"]] == ["n1", "n0", "n3", "n2"]


def test_no_weighted_layer_at_all() -> None:
    """A network without products is judged by all its layers that compute; moves do not count."""
    layers = [
        layer("a", "fp16", kind="PointWiseV2"),
        layer("b", "fp32", kind="Reduce"),
        layer("Reformatting CopyNode for Input Tensor 0", "fp32", kind="Reformat"),
    ]
    judged = in_precision(layers, Precisions(), "fp16", EIGHTY)
    assert judged.measurement is not None
    assert (judged.measurement.value, judged.measurement.n) == (0.5, 2)


def test_without_a_limit_it_is_only_measured() -> None:
    """Without a limit the share is measured, with cause ``no_limit``."""
    assert in_precision([layer("n0", "int8")], model(5), "int8", None).cause is Cause.NO_LIMIT


@given(
    st.lists(st.tuples(st.sampled_from(["int8", "fp16", "fp32", None]), st.integers(0, 1000)), min_size=1, max_size=12),
    st.floats(0.01, 1.0),
)
def test_a_pass_holds_whatever_is_hidden(work: list[tuple[str | None, int]], limit: float) -> None:
    """A share passes or fails only if hidden layers could not change the verdict."""
    layers = [layer(f"n{at}", kind) for at, (kind, _) in enumerate(work) if kind is not None]
    layers += [HIDING] if any(kind is None for kind, _ in work) else []
    sizes = [size for _, size in work]
    bound = EIGHTY.model_copy(update={"value": limit})
    judged = in_precision(layers, model(*sizes), "int8", bound)
    total = sum(sizes) or 1
    least = sum(size for kind, size in work if kind == "int8") / total
    most = least + sum(size for kind, size in work if kind is None) / total
    if judged.verdict is Verdict.PASSED:
        assert least >= limit - 1e-9
    if judged.verdict is Verdict.FAILED:
        assert most < limit + 1e-9
