"""What the engine inspector's JSON is read as; the excerpts have the structure of NVIDIA's published examples."""

from __future__ import annotations

import json

import pytest

from hil.agent.failure import Failure
from hil.agent.runtimes.tensorrt import inspector


def tensor(name: str, text: str) -> dict[str, object]:
    """An input or output as the detailed listing has it."""
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


def test_what_computes_in_int8_and_what_moves() -> None:
    """A convolution's weights say it, a pooling's inputs; a reformat computes nothing, whatever it converts to."""
    quantize, convolution, pooling = inspector.parse(json.dumps(QUANTIZED))
    assert [one["precision"] for one in (quantize, convolution, pooling)] == [None, "int8", "fp16"]
    assert quantize["inputs"] == ["fp32"]
    assert quantize["outputs"] == ["int8"]
    assert convolution["type"] == "CaskConvolution"
    assert convolution["onnx"] == ["/conv/QuantizeLinear", "/conv/Conv"]
    assert {one["device"] for one in (quantize, convolution, pooling)} == {"gpu"}


def test_names_alone_say_nothing_of_precision() -> None:
    """An engine built without detail lists strings: nothing is made up from them."""
    found = inspector.parse('{"Layers": ["Conv_0 + Relu_1", "{ForeignNode[a...b]}"], "Bindings": ["x"]}')
    assert [one["name"] for one in found] == ["Conv_0 + Relu_1", "{ForeignNode[a...b]}"]
    assert all((one["precision"], one["type"], one["onnx"]) == (None, "", []) for one in found)


def test_a_dla_layer_is_on_the_dla() -> None:
    """Its type says so."""
    found = inspector.parse(json.dumps({"Layers": [{"Name": "{ForeignNode[a]}", "LayerType": "DLA"}]}))
    assert found[0]["device"] == "dla"


def test_layers_of_later_profiles_never_run() -> None:
    """The first optimization profile is the one in use."""
    found = inspector.parse(json.dumps({"Layers": ["a", "a [profile 1]", "b [profile 12]", "b [profile 0]"]}))
    assert [one["name"] for one in found] == ["a", "b [profile 0]"]


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
    """uint8 is no int8, bfloat16 no float."""
    assert inspector.datatype(text) == name


def test_a_backslash_in_a_name_is_one() -> None:
    """Names are not escaped in the inspector's JSON."""
    assert inspector.parse('{"Layers": ["a\\d"]}')[0]["name"] == "a\\d"


@pytest.mark.parametrize("text", ["", "Layers: a", '{"Layers": ["a"'])
def test_what_is_no_json_is_a_failure(text: str) -> None:
    """An unreadable answer is not an engine without layers."""
    with pytest.raises(Failure, match="in no JSON"):
        inspector.parse(text)


@pytest.mark.parametrize("text", ["{}", '{"Layers": null}', '{"Layers": [1, null]}', "[]"])
def test_nothing_listed_is_no_layer(text: str) -> None:
    """No layer is no INT8 layer either."""
    assert inspector.parse(text) == []
