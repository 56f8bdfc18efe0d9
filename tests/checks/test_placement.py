from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.checks import placement
from hil.results import Cause, Limit, Sense, Verdict

SHARE = Limit(value=0.8, unit="1", sense=Sense.AT_LEAST, source="hil.toml:9")


def most(count: float) -> Limit:
    """At most so many layers on the GPU."""
    return Limit(value=count, unit="layers", sense=Sense.AT_MOST, source="hil.toml:9")


def layer(name: str, kind: str | None = "CaskConvolution", dtype: str | None = "int8", device: str = "gpu") -> Any:
    """A layer as the agent tells it."""
    inputs = [] if dtype is None else [dtype]
    return {"name": name, "type": kind, "precision": dtype, "inputs": inputs, "outputs": inputs, "device": device}


def convs(count: int, dtype: str = "int8") -> list[Any]:
    """So many convolutions, named after their dtype."""
    return [layer(f"{dtype}_{number}", dtype=dtype) for number in range(count)]


BLOB = layer("{ForeignNode[/a/MatMul.../z/MatMul]}", "Myelin", "fp16")
REFORMAT = layer("Reformatting CopyNode for Input Tensor 0", "Reformat", "fp32")


@pytest.mark.parametrize(("good", "bad", "verdict"), [(8, 2, Verdict.PASSED), (7, 3, Verdict.FAILED)])
def test_the_share_is_of_what_int8_is_for(good: int, bad: int, verdict: Verdict) -> None:
    """Pooling, reformats and elementwise layers count neither way."""
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
def test_what_computes_with_weights_is_recognized(kind: str, name: str) -> None:
    """In the words of TensorRT 8 and of Myelin; one such layer in floating point fails alone."""
    judged = placement.int8_layers([layer(name, kind, "fp16")], SHARE)
    assert judged.verdict is Verdict.FAILED


def test_an_engine_without_layers_never_passes() -> None:
    """No layers, or none that INT8 is for: there is no share to hold against a limit."""
    for layers in ([], [REFORMAT], [layer("MaxPool", "CaskPooling")]):
        assert placement.int8_layers(layers, SHARE).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("layers", [[BLOB], [*convs(9), BLOB], [layer("Conv_0", dtype=None)], [layer("Conv_0", None)]])
def test_what_is_not_visible_settles_nothing(layers: list[Any]) -> None:
    """Myelin's graphs, layers without dtypes and bare names may hide anything: never passed, never failed."""
    judged = placement.int8_layers(layers, SHARE)
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert "not visible" in judged.reason


@pytest.mark.parametrize(
    ("good", "bad", "hidden", "verdict"),
    [(9, 0, 1, Verdict.PASSED), (1, 9, 1, Verdict.FAILED), (8, 1, 1, Verdict.INCONCLUSIVE)],
)
def test_the_models_nodes_bound_what_is_hidden(good: int, bad: int, hidden: int, verdict: Verdict) -> None:
    """Where all that may be hidden would not change the verdict, there is one."""
    layers = [*convs(good), *convs(bad, "fp16")]
    nodes = [each["name"] for each in layers] + [f"/hidden/{number}" for number in range(hidden)]
    limit = SHARE.model_copy(update={"value": 0.85})
    assert placement.int8_layers([*layers, BLOB], limit, nodes).verdict is verdict


def test_a_weighted_node_that_no_layer_holds_is_not_forgotten() -> None:
    """A kernel whose name says nothing of its matrix product does not leave the count by that."""
    layers = [*convs(3), layer("mystery", "kgen", "fp16")]
    nodes = ["int8_0", "int8_1", "int8_2", "lost"]
    assert placement.int8_layers(layers, SHARE, nodes).verdict is Verdict.INCONCLUSIVE


def test_nodes_are_found_in_joined_names_and_in_what_is_told() -> None:
    """``Conv_1`` is not in ``Conv_10 + Relu``; horizontal fusions hold several."""
    layers = [layer("Conv_10 + Relu"), layer("Conv_2 || Conv_3"), {**layer("kernel"), "onnx": ["/a/Conv"]}, BLOB]
    found = placement.weighted_layers(layers, ["Conv_1", "Conv_10", "Conv_2", "Conv_3", "/a/Conv"])
    assert found.hidden == 1


def test_without_a_limit_it_is_measured_only() -> None:
    """A number for the reader, and no verdict."""
    assert placement.int8_layers(convs(2), None).cause is Cause.NO_LIMIT


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 3), st.booleans())
def test_more_floating_point_is_never_better(good: int, bad: int, hidden: int, blob: bool) -> None:
    """No mixture passes in which less than the limit is certain to be INT8."""
    layers = [*convs(good), *convs(bad, "fp16"), *([BLOB] if blob else [])]
    nodes = [each["name"] for each in layers if each is not BLOB] + ["h"] * hidden
    judged = placement.int8_layers(layers, SHARE, nodes)
    if judged.verdict is Verdict.PASSED:
        assert good / (good + bad + hidden) >= 0.8


@pytest.mark.parametrize(("fallen", "limit", "verdict"), [(0, 0, Verdict.PASSED), (1, 0, Verdict.FAILED)])
def test_each_layer_on_the_gpu_is_counted(fallen: int, limit: int, verdict: Verdict) -> None:
    """And named; movement of data between the devices is no fallback."""
    layers = [layer("{ForeignNode[a...b]}", "DLA", device="dla"), REFORMAT, *convs(fallen)]
    judged = placement.dla_fallback(layers, most(limit))
    assert judged.verdict is verdict
    assert ("int8_0" in judged.reason) is bool(fallen)


@pytest.mark.parametrize("limit", [0, 100, None])
def test_an_engine_that_is_wholly_on_the_gpu_fails(limit: int | None) -> None:
    """However many layers may fall back: some layer must run on the DLA that was asked for."""
    judged = placement.dla_fallback(convs(3), None if limit is None else most(limit))
    assert judged.verdict is Verdict.FAILED
    assert "no layer runs on the DLA" in judged.reason


@pytest.mark.parametrize("layers", [[], [REFORMAT]])
def test_a_dla_engine_of_which_nothing_is_told_never_passes(layers: list[Any]) -> None:
    """No layer seen is not no layer fallen back."""
    assert placement.dla_fallback(layers, most(0)).verdict is Verdict.INCONCLUSIVE


def test_a_device_that_is_not_told_is_no_dla() -> None:
    """What does not say where it runs counts as fallen back."""
    layers = [layer("d", device="dla"), {**layer("x"), "device": None}]
    assert placement.dla_fallback(layers, most(0)).verdict is Verdict.FAILED


def test_details_are_bounded() -> None:
    """A network of a thousand layers does not make the report a thousand lines longer."""
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
def test_a_models_own_names_are_no_movement_of_data(name: str, kind: str | None) -> None:
    """Whatever a node is called: what runs on the GPU of a DLA engine is counted."""
    layers = [layer("{ForeignNode[a...b]}", "DLA", device="dla"), layer(name, kind, "fp16")]
    assert placement.dla_fallback(layers, most(0)).verdict is Verdict.FAILED


@pytest.mark.parametrize(("limit", "verdict"), [(0, Verdict.FAILED), (1, Verdict.INCONCLUSIVE)])
def test_a_graph_on_the_gpu_is_not_one_layer(limit: int, verdict: Verdict) -> None:
    """Myelin's graph may hold any number of the model's layers: one at least, and never within a limit over that."""
    judged = placement.dla_fallback([layer("{ForeignNode[a...b]}", "DLA", device="dla"), BLOB], most(limit))
    assert judged.verdict is verdict
    assert judged.measurement is not None
    assert (judged.measurement.low, judged.measurement.high) == (1, None)


def test_whether_anything_is_in_int8_is_told_only_where_it_can_be_seen() -> None:
    """One layer is enough; none is none only where nothing is hidden."""
    plain = {"name": "conv", "type": "CaskConvolution", "inputs": ["fp16"], "outputs": ["fp16"], "device": "gpu"}
    quantized = {**plain, "outputs": ["int8"]}
    hidden = {**plain, "name": "{ForeignNode[a...b]}", "type": "Myelin", "inputs": [], "outputs": []}
    assert placement.any_int8([plain, quantized]) is True
    assert placement.any_int8([plain]) is False
    assert placement.any_int8([plain, hidden]) is None
    assert placement.any_int8([]) is None
