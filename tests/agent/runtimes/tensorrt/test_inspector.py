"""Parsing the engine inspector's JSON; the excerpts have the structure of NVIDIA's published examples."""

from __future__ import annotations

import json

import pytest

from hil.agent.failure import Failure
from hil.agent.runtimes.tensorrt import inspector
from hil.checks.in_precision import in_precision
from hil.onnx_files.precisions import Precisions, WeightedNode


def tensor(name: str, text: str) -> dict[str, object]:
    """Return an input or output as in the inspector's detailed listing."""
    return {"Name": name, "Location": "Device", "Dimensions": [1, 32, 8, 8], "Format/Datatype": text}


INT8 = "Thirty-two wide channel vectorized row major Int8 format"
FP32 = "Row major linear FP32"
QUANTIZED = {
    "Layers": [
        {
            "Name": "QuantizeLinear_2",
            "LayerType": "Reformat",
            "Inputs": [tensor("input", FP32)],
            "Outputs": [tensor("q", INT8)],
            "ParameterType": "Reformat",
            "Origin": "QDQ",
            "TacticValue": "0x0000000000000000",
        },
        {
            "Name": "conv.weight + QuantizeLinear_8 + Conv_12 + PWN(Clip_16)",
            "LayerType": "CaskConvolution",
            "Inputs": [tensor("q", INT8)],
            "Outputs": [tensor("r", "Thirty-two wide channel vectorized row major FP16 format")],
            "ParameterType": "Convolution",
            "Weights": {"Type": "Int8", "Count": 864},
            "Bias": {"Type": "Float", "Count": 32},
            "TacticName": "sm75_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32_nchw_vect_c_32kcrs",
            "Metadata": "[ONNX Layer: /conv/QuantizeLinear]\x1e[ONNX Layer: /conv/Conv]",
        },
        {
            "Name": "MaxPool_2",
            "LayerType": "CudaPooling",
            "Inputs": [tensor("r", "Channel major FP16 format where channel % 8 == 0")],
            "Outputs": [tensor("s", "Channel major FP16 format where channel % 8 == 0")],
            "ParameterType": "Pooling",
        },
    ],
    "Bindings": ["input", "s"],
}


def test_precisions_of_computing_and_moving_layers() -> None:
    """A convolution has its weights' precision, a pooling layer its inputs'; a layer that only converts has none."""
    quantize, convolution, pooling = inspector.parse(json.dumps(QUANTIZED))
    assert [layer["precision"] for layer in (quantize, convolution, pooling)] == [None, "int8", "fp16"]
    assert quantize["inputs"] == ["fp32"]
    assert quantize["outputs"] == ["int8"]
    assert convolution["type"] == "CaskConvolution"
    assert convolution["onnx"] == ["/conv/QuantizeLinear", "/conv/Conv"]
    assert {layer["device"] for layer in (quantize, convolution, pooling)} == {"gpu"}


def test_a_name_alone_gives_no_precision() -> None:
    """A layer that is listed only by its name has no precision."""
    layers = inspector.parse('{"Layers": ["Conv_0 + Relu_1", "{ForeignNode[a...b]}"], "Bindings": ["x"]}')
    assert [layer["name"] for layer in layers] == ["Conv_0 + Relu_1", "{ForeignNode[a...b]}"]
    assert all((layer["precision"], layer["type"], layer["onnx"]) == (None, "", []) for layer in layers)


def test_a_dla_layer_is_on_the_dla() -> None:
    """A layer whose type is ``DLA`` runs on the DLA."""
    layers = inspector.parse(json.dumps({"Layers": [{"Name": "{ForeignNode[a]}", "LayerType": "DLA"}]}))
    assert layers[0]["device"] == "dla"


def test_layers_of_later_profiles_never_run() -> None:
    """Layers of later optimization profiles are left out."""
    layers = inspector.parse(json.dumps({"Layers": ["a", "a [profile 1]", "b [profile 12]", "b [profile 0]"]}))
    assert [layer["name"] for layer in layers] == ["a", "b [profile 0]"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Row major linear UInt8 format", "uint8"),
        ("Channel major BFloat16 format where channel % 8 == 0", "bf16"),
        ("Row major linear FP8 format", "fp8"),
        ("Channel major INT8 format where column stride % 32 == 0", "int8"),
        ("Row major linear Int64 format", "int64"),
        ("Row major linear BOOL", "bool"),
        ("Half", "fp16"),
        ("Float", "fp32"),
        ("Unknown format", None),
    ],
)
def test_datatypes_by_their_many_names(text: str, name: str | None) -> None:
    """Each format text gives its own type: uint8 is not read as int8, nor bfloat16 as float."""
    assert inspector.datatype(text) == name


def test_a_backslash_in_a_name_is_kept() -> None:
    """A backslash in a layer's name is kept, since the inspector does not escape names in its JSON."""
    assert inspector.parse('{"Layers": ["a\\d"]}')[0]["name"] == "a\\d"


@pytest.mark.parametrize("text", ["", "Layers: a", '{"Layers": ["a"'])
def test_invalid_json_is_a_failure(text: str) -> None:
    """Output that is not JSON raises ``Failure``; it is not read as an engine without layers."""
    with pytest.raises(Failure, match="did not return JSON"):
        inspector.parse(text)


@pytest.mark.parametrize("text", ["{}", '{"Layers": null}', '{"Layers": [1, null]}', "[]"])
def test_an_empty_listing_has_no_layers(text: str) -> None:
    """A listing without layers gives an empty list."""
    assert inspector.parse(text) == []


# The structure of listings of 8.6 (a Myelin graph is one layer, names join nodes), of 10.3 (metadata name the nodes,
# types are short) and of 10.13 (kernels of Myelin are listed with their operands); names and shapes are made up.
LISTINGS = {
    "8.6": [
        {
            "Name": "/c0/Conv + /r0/Relu",
            "LayerType": "CaskConvolution",
            "Inputs": [tensor("x", INT8)],
            "Outputs": [tensor("y", INT8)],
            "Weights": {"Type": "Int8", "Count": 100},
            "TacticName": "sm80_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32",
        },
        {
            "Name": "/c1/Conv",
            "LayerType": "CaskConvolution",
            "Inputs": [tensor("y", FP32)],
            "Outputs": [tensor("z", FP32)],
            "Weights": {"Type": "Float", "Count": 100},
            "TacticName": "sm80_xmma_fprop_implicit_gemm_tf32f32_tf32f32_f32_nhwckrsc_nhwc",
        },
        {"Name": "{ForeignNode[/m0/MatMul.../m1/MatMul]}", "LayerType": "Myelin", "Inputs": [tensor("z", FP32)]},
    ],
    "10.3": [
        {
            "Name": "/c0/Conv",
            "LayerType": "CaskConvolution",
            "Inputs": [{"Name": "x", "Dimensions": [1, 8], "Format/Datatype": "Int8 NC/32HW32"}],
            "Outputs": [{"Name": "y", "Dimensions": [1, 8], "Format/Datatype": "Half"}],
            "Weights": {"Type": "Int8", "Count": 100},
            "Metadata": "[ONNX Layer: /c0/Conv]\x1e[ONNX Layer: /r0/Relu]",
        },
        {
            "Name": "/m0/MatMul_myl0_1",
            "LayerType": "gemm",
            "Inputs": [{"Name": "y", "Dimensions": [1, 8], "Format/Datatype": "Half"}],
            "Outputs": [{"Name": "z", "Dimensions": [1, 8], "Format/Datatype": "Half"}],
            "Metadata": "[ONNX Layer: /m0/MatMul]",
        },
    ],
    "10.13": [
        {
            "Name": "__myl_QuanCast_myl0_0",
            "LayerType": "kgen",
            "Inputs": [{"Name": "x", "Dimensions": [4, 64], "Format/Datatype": "Half"}],
            "Outputs": [{"Name": "q", "Dimensions": [4, 64], "Format/Datatype": "FP8"}],
            "Metadata": "[ONNX Layer: /x/QuantizeLinear]",
        },
        {
            "Name": "/m0/MatMul_myl0_1",
            "LayerType": "gemm",
            "Inputs": [
                {"Name": "q", "Dimensions": [4, 64], "Format/Datatype": "FP8"},
                {"Name": "w", "Dimensions": [64, 64], "Format/Datatype": "E4M3"},
            ],
            "Outputs": [{"Name": "y", "Dimensions": [4, 64], "Format/Datatype": "Half"}],
            "Metadata": "[ONNX Layer: /m0/MatMul]",
        },
        {
            "Name": "__myl_FcAdd_myl0_3",
            "LayerType": "gemm",
            "Inputs": [{"Name": "y", "Dimensions": [4, 64], "Format/Datatype": "BFloat16"}],
            "Outputs": [{"Name": "z", "Dimensions": [4, 64], "Format/Datatype": "BFloat16"}],
            "Metadata": "[ONNX Layer: /m1/MatMul]\x1e[ONNX Layer: /m1/Add]",
        },
    ],
}


@pytest.mark.parametrize(
    ("release", "precision", "low", "high"),
    [
        ("8.6", "int8", 0.25, 0.75),
        ("8.6", "tf32", 0.25, 0.75),
        ("8.6", "fp32", 0.0, 0.5),
        ("10.3", "int8", 0.25, 0.75),
        ("10.3", "fp16", 0.25, 0.75),
        ("10.13", "fp8", 0.25, 0.75),
        ("10.13", "bf16", 0.25, 0.75),
        ("10.13", "int8", 0.0, 0.5),
    ],
)
def test_shares_by_the_listings_of_releases(release: str, precision: str, low: float, high: float) -> None:
    """Nodes that a release's listing hides widen the bounds of the share in the precision."""
    layers = inspector.parse(json.dumps({"Layers": LISTINGS[release]}))
    nodes = [WeightedNode(name, "Conv", "float32", multiply_adds=10) for name in NODES]
    judged = in_precision(layers, Precisions(tuple(nodes)), precision, None)
    assert judged.measurement is not None
    assert (judged.measurement.low, judged.measurement.high) == (low, high)


NODES = ("/c0/Conv", "/c1/Conv", "/m0/MatMul", "/m1/MatMul")


def test_a_listing_of_names_alone_shows_nothing() -> None:
    """Without detailed verbosity, the share in the precision may be anything from 0 to 1, so no limit is met."""
    layers = inspector.parse(json.dumps({"Layers": ["/c0/Conv", "/m0/MatMul"]}))
    nodes = Precisions(tuple(WeightedNode(name, "Conv", "float32", multiply_adds=10) for name in NODES))
    judged = in_precision(layers, nodes, "fp16", None)
    assert judged.measurement is not None
    assert (judged.measurement.low, judged.measurement.high) == (0.0, 1.0)
