from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.checks import placement
from hil.results import Cause, Limit, Sense, Verdict

SHARE = Limit(value=0.8, unit="1", sense=Sense.AT_LEAST, source="hil.toml:9")


def at_most(count: float) -> Limit:
    """Return a limit of ``count`` layers on the GPU."""
    return Limit(value=count, unit="layers", sense=Sense.AT_MOST, source="hil.toml:9")


def layer(name: str, kind: str | None = "CaskConvolution", dtype: str | None = "int8", device: str = "gpu") -> Any:
    """Return a layer as the agent reports it."""
    inputs = [] if dtype is None else [dtype]
    return {"name": name, "type": kind, "precision": dtype, "inputs": inputs, "outputs": inputs, "device": device}


def convs(count: int, dtype: str = "int8") -> list[Any]:
    """Return ``count`` convolutions, named after their dtype."""
    return [layer(f"{dtype}_{number}", dtype=dtype) for number in range(count)]


BLOB = layer("{ForeignNode[/a/MatMul.../z/MatMul]}", "Myelin", "fp16")
REFORMAT = layer("Reformatting CopyNode for Input Tensor 0", "Reformat", "fp32")


@pytest.mark.parametrize(("good", "bad", "verdict"), [(8, 2, Verdict.PASSED), (7, 3, Verdict.FAILED)])
def test_the_share_is_of_weighted_layers(good: int, bad: int, verdict: Verdict) -> None:
    """Only convolutions and matrix products count; pooling, reformats and elementwise layers do not."""
    others = [layer("MaxPool_1", "CaskPooling", "fp32"), REFORMAT, layer("Add_1", "PointWiseV2", "int8")]
    judged = placement.int8_layers([*convs(good), *convs(bad, "fp16"), *others], SHARE)
    assert judged.verdict is verdict
    assert judged.measurement is not None
    assert (judged.measurement.value, judged.measurement.n) == (good / 10, 10)
    assert f"{good} of 10" in judged.reason


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("CaskConvolution", "Conv_0 + Relu_1"),
        ("ConvActPool", "conv1.weight + QuantizeLinear_7 + Conv_9 + MaxPool_12"),
        ("CaskDeconvolutionV2", "deconv"),
        ("CaskGemmConvolution", "Gemm_3"),
        ("MatrixMultiply", "MatMul_3"),
        ("FullyConnected", "fc"),
        ("gemm", "__myl_Fc_myl0_3"),
        ("kgen", "__myl_FcAdd_myl0_3"),
        ("kgen", "_gemm_mha_v2_myl0_7"),
    ],
)
def test_layers_with_weights_are_recognized(kind: str, name: str) -> None:
    """Layers with weights are recognized by the names of TensorRT 8 and of Myelin."""
    judged = placement.int8_layers([layer(name, kind, "fp16")], SHARE)
    assert judged.verdict is Verdict.FAILED


def test_an_engine_without_weighted_layers_is_inconclusive() -> None:
    """Without layers that have weights there is no share to judge."""
    for layers in ([], [REFORMAT], [layer("MaxPool", "CaskPooling")]):
        assert placement.int8_layers(layers, SHARE).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("layers", [[BLOB], [*convs(9), BLOB], [layer("Conv_0", dtype=None)], [layer("Conv_0", None)]])
def test_hidden_layers_are_inconclusive(layers: list[Any]) -> None:
    """A layer whose content or type is hidden makes the row inconclusive."""
    judged = placement.int8_layers(layers, SHARE)
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert "not visible" in judged.reason


@pytest.mark.parametrize(
    ("good", "bad", "hidden", "verdict"),
    [(9, 0, 1, Verdict.PASSED), (1, 9, 1, Verdict.FAILED), (8, 1, 1, Verdict.INCONCLUSIVE)],
)
def test_the_models_nodes_bound_the_hidden_layers(good: int, bad: int, hidden: int, verdict: Verdict) -> None:
    """Hidden layers do not prevent a verdict that they are too few to change."""
    layers = [*convs(good), *convs(bad, "fp16")]
    nodes = [each["name"] for each in layers] + [f"/hidden/{number}" for number in range(hidden)]
    limit = SHARE.model_copy(update={"value": 0.85})
    assert placement.int8_layers([*layers, BLOB], limit, nodes).verdict is verdict


def test_a_weighted_node_without_a_layer_counts_as_hidden() -> None:
    """A weighted node that no layer's name mentions counts as hidden."""
    layers = [*convs(3), layer("mystery", "kgen", "fp16")]
    nodes = ["int8_0", "int8_1", "int8_2", "lost"]
    assert placement.int8_layers(layers, SHARE, nodes).verdict is Verdict.INCONCLUSIVE


def test_nodes_are_matched_in_joined_layer_names() -> None:
    """A node matches as a whole name in a layer's joined names or its ONNX list."""
    layers = [layer("Conv_10 + Relu"), layer("Conv_2 || Conv_3"), {**layer("kernel"), "onnx": ["/a/Conv"]}, BLOB]
    weighted = placement.weighted_layers(layers, ["Conv_1", "Conv_10", "Conv_2", "Conv_3", "/a/Conv"])
    assert weighted.hidden == 1


def test_without_a_limit_the_share_is_only_measured() -> None:
    """Without a limit the row is not run with cause ``no_limit``."""
    assert placement.int8_layers(convs(2), None).cause is Cause.NO_LIMIT


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 3), st.booleans())
def test_more_floating_point_is_never_better(good: int, bad: int, hidden: int, blob: bool) -> None:
    """An engine whose known share of INT8 layers is under the limit never passes."""
    layers = [*convs(good), *convs(bad, "fp16"), *([BLOB] if blob else [])]
    nodes = [each["name"] for each in layers if each is not BLOB] + ["h"] * hidden
    judged = placement.int8_layers(layers, SHARE, nodes)
    if judged.verdict is Verdict.PASSED:
        assert good / (good + bad + hidden) >= 0.8


@pytest.mark.parametrize(("fallen", "limit", "verdict"), [(0, 0, Verdict.PASSED), (1, 0, Verdict.FAILED)])
def test_each_layer_on_the_gpu_is_counted(fallen: int, limit: int, verdict: Verdict) -> None:
    """Each layer on the GPU is counted and named; data movement between devices is not counted."""
    layers = [layer("{ForeignNode[a...b]}", "DLA", device="dla"), REFORMAT, *convs(fallen)]
    judged = placement.dla_fallback(layers, at_most(limit))
    assert judged.verdict is verdict
    assert ("int8_0" in judged.reason) is bool(fallen)


@pytest.mark.parametrize("limit", [0, 100, None])
def test_an_engine_that_is_wholly_on_the_gpu_fails(limit: int | None) -> None:
    """At least one layer must run on the requested DLA, whatever the limit."""
    judged = placement.dla_fallback(convs(3), None if limit is None else at_most(limit))
    assert judged.verdict is Verdict.FAILED
    assert "no layer runs on the DLA" in judged.reason


@pytest.mark.parametrize("layers", [[], [REFORMAT]])
def test_a_dla_engine_without_reported_layers_is_inconclusive(layers: list[Any]) -> None:
    """Without reported layers the number of fallbacks is unknown."""
    assert placement.dla_fallback(layers, at_most(0)).verdict is Verdict.INCONCLUSIVE


def test_a_layer_without_a_device_counts_as_fallback() -> None:
    """A layer that does not report its device counts as a fallback."""
    layers = [layer("d", device="dla"), {**layer("x"), "device": None}]
    assert placement.dla_fallback(layers, at_most(0)).verdict is Verdict.FAILED


def test_details_are_bounded() -> None:
    """At most 200 layers are listed, with the full count."""
    details = placement.int8_layers(convs(1000), SHARE).details
    assert (len(details["layers"]), details["count"], details["precisions"]) == (200, 1000, {"int8": 1000})


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("/barrier_head/conv/Conv + /relu", "CaskConvolution"),
        ("signal_encoder/conv1", "CaskConvolution"),
        ("/wait/Add", "PointWiseV2"),
        ("/wait/Add", None),
    ],
)
def test_a_nodes_name_does_not_make_it_data_movement(name: str, kind: str | None) -> None:
    """A layer on the GPU of a DLA engine is counted, even if its name resembles data movement."""
    layers = [layer("{ForeignNode[a...b]}", "DLA", device="dla"), layer(name, kind, "fp16")]
    assert placement.dla_fallback(layers, at_most(0)).verdict is Verdict.FAILED


@pytest.mark.parametrize(("limit", "verdict"), [(0, Verdict.FAILED), (1, Verdict.INCONCLUSIVE)])
def test_a_myelin_graph_is_at_least_one_layer(limit: int, verdict: Verdict) -> None:
    """A Myelin graph counts as one layer or more, so it fails a limit of 0 and is inconclusive above."""
    judged = placement.dla_fallback([layer("{ForeignNode[a...b]}", "DLA", device="dla"), BLOB], at_most(limit))
    assert judged.verdict is verdict
    assert judged.measurement is not None
    assert (judged.measurement.low, judged.measurement.high) == (1, None)


def test_any_int8_is_unknown_with_hidden_layers() -> None:
    """Whether any layer runs in INT8 is unknown if none is visible and one is hidden."""
    plain = {"name": "conv", "type": "CaskConvolution", "inputs": ["fp16"], "outputs": ["fp16"], "device": "gpu"}
    quantized = {**plain, "outputs": ["int8"]}
    hidden = {**plain, "name": "{ForeignNode[a...b]}", "type": "Myelin", "inputs": [], "outputs": []}
    assert placement.any_of([plain, quantized], "int8") is True
    assert placement.any_of([plain], "int8") is False
    assert placement.any_of([plain, hidden], "int8") is None
    assert placement.any_of([], "int8") is None
