"""``contract.isaac_ros``: a ROS node whose bindings do not match the engine never passes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hil.checks.isaac_ros import NodeParameters, isaac_ros
from hil.onnx_files.signature import Signature, TensorSpec
from hil.results import Verdict

ENGINE = Signature(
    inputs=(TensorSpec("x", "float32", ("batch", 6)),), outputs=(TensorSpec("scores", "float32", ("batch", 4)),)
)
GOOD = NodeParameters("params.yaml /trt", "/opt/toy.plan", ("in",), ("out",), ("x",), ("scores",), 30.0, 1)


def test_a_matching_node_passes() -> None:
    """A node whose names, batch and path match the engine passes."""
    judgement = isaac_ros(GOOD, ENGINE, 1)
    assert judgement.verdict is Verdict.PASSED
    assert judgement.reason == "params.yaml /trt: its 2 bindings match the engine's"


def test_a_missing_file_fails() -> None:
    """A required check fails if the config names no parameter file."""
    assert isaac_ros(None, ENGINE, 1).verdict is Verdict.FAILED


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"input_binding_names": None}, "input_binding_names is not given; the engine has x"),
        ({"input_binding_names": ()}, "input_binding_names lacks the engine's input 'x'"),
        ({"input_binding_names": ("X",)}, "input_binding_names has 'X', but the engine's inputs are x"),
        ({"input_binding_names": ("x", "x"), "input_tensor_names": ("a", "b")}, "input_binding_names has a name twice"),
        ({"output_binding_names": ("logits",)}, "output_binding_names has 'logits'"),
        ({"output_tensor_names": None}, "output_tensor_names is not given"),
        ({"output_tensor_names": ("a", "b")}, "output_tensor_names has 2 names, output_binding_names 1"),
        ({"max_batch_size": 4}, "max_batch_size is 4, but the engine was judged with batch 1"),
        ({"engine_file_path": None}, "engine_file_path is not given"),
        ({"engine_file_path": "toy.plan"}, "engine_file_path 'toy.plan' is not absolute"),
    ],
)
def test_a_mismatched_node_fails(change: dict[str, object], why: str) -> None:
    """Each difference fails and is in the reason."""
    judgement = isaac_ros(replace(GOOD, **change), ENGINE, 1)  # type: ignore[arg-type]  # a table of fields
    assert judgement.verdict is Verdict.FAILED
    assert why in judgement.reason


def test_a_batch_above_the_engines_fails() -> None:
    """A node whose ``max_batch_size`` is over the engine's fixed batch fails."""
    fixed = Signature(inputs=(TensorSpec("x", "float32", (1, 6)),), outputs=ENGINE.outputs)
    judgement = isaac_ros(replace(GOOD, max_batch_size=2), fixed, 2)
    assert judgement.verdict is Verdict.FAILED
    assert "input 'x' of the engine has a batch of 1" in judgement.reason
