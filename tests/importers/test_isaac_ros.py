"""ROS 2 parameter files: a node's parameters, and only ``UserError`` for invalid content."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.errors import UserError
from hil.importers import isaac_ros

if TYPE_CHECKING:
    from pathlib import Path

FILE = """\
/**:
  ros__parameters:
    max_batch_size: 1
    inference_fps: 15
camera:
  trt:
    ros__parameters:
      engine_file_path: /opt/robot/current/engines/toy-fp32.plan
      input_tensor_names: [input_tensor]
      input_binding_names: [x]
      output_tensor_names: [output_tensor]
      output_binding_names: [scores]
      inference_fps: 30.0
      verbose: true
other:
  ros__parameters: {queue: 3}
"""


def node(text: str, name: str | None = None) -> isaac_ros.Node:
    """Return the inference node ``name`` of the file ``text``."""
    return isaac_ros.inference_node(isaac_ros.nodes(text.encode(), "params.yaml"), "params.yaml", name)


def test_a_node_with_a_wildcards_parameters() -> None:
    """A node's own parameters override the wildcard's; each has its line; nodes without inference keys are ignored."""
    both = node(FILE.replace("other:\n  ros__parameters: {queue: 3}\n", ""))
    assert both.name == "/camera/trt"
    assert (both.inference_fps, both.max_batch_size) == (30.0, 1)
    assert (both.input_binding_names, both.output_binding_names) == (("x",), ("scores",))
    assert both.lines["inference_fps"] == 13
    assert both.lines["max_batch_size"] == 3


def test_only_a_wildcard() -> None:
    """If a file has only parameters of a wildcard, they are those of a node called ``/**``."""
    wild = node("/**:\n  ros__parameters: {input_binding_names: x, inference_fps: 10}\n")
    assert wild.name == "/**"
    assert wild.input_binding_names == ("x",)
    assert wild.output_binding_names is None


def test_several_nodes_need_a_name() -> None:
    """If a file has several inference nodes, one must be named, with or without a leading slash."""
    text = "a:\n  ros__parameters: {inference_fps: 1}\n/b:\n  ros__parameters: {inference_fps: 2}\n"
    with pytest.raises(UserError, match=r"several nodes .*\(/a, /b\): write e\.g\. .params\.yaml#/a"):
        node(text)
    assert node(text, "b").inference_fps == 2.0
    assert node(text, "/b") == node(text, "b")
    with pytest.raises(UserError, match="no inference node is called '/bb'"):
        node(text, "bb")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [1", "not YAML"),
        ("- a\n", "not a ROS 2 parameter file"),
        ("a: 1\n", "not a ROS 2 parameter file"),
        ("a:\n  ros__parameters: {x: 1}\n", "no node has parameters of an inference node"),
        ("a:\n  ros__parameters: {inference_fps: fast}\n", r"params\.yaml:2: /a: inference_fps: 'fast' is not a rate"),
        ("a:\n  ros__parameters: {inference_fps: .inf}\n", "inference_fps: .* is not a rate"),
        ("a:\n  ros__parameters: {inference_fps: true}\n", "inference_fps: True is not a rate"),
        ("a:\n  ros__parameters: {max_batch_size: 0}\n", "0 is not a number of samples"),
        ("a:\n  ros__parameters: {max_batch_size: 1.5}\n", "is not a number of samples"),
        ("a:\n  ros__parameters: {input_binding_names: {x: 1}}\n", "is not a list of names"),
        ("a:\n  ros__parameters: {input_binding_names: [1]}\n", "is not a list of names"),
        ("a:\n  ros__parameters: {engine_file_path: 3}\n", "is not a path"),
        ("a:\n  ros__parameters: {inference_fps: 1}\na: 3\n", r"params\.yaml:3: a key is not a word, or occurs twice"),
        ("a: &x\n  ros__parameters: {inference_fps: 1}\nb: *x\n", "has an alias"),
        ("a:\n  ros__parameters: {inference_fps: !!python/object/apply:os.system [ls]}\n", "is not a rate"),
        ("{" * 1000, "not YAML|nested too deeply"),
    ],
)
def test_invalid_files(text: str, why: str) -> None:
    """An invalid file raises one message with the line, and no object is constructed from a tag."""
    with pytest.raises(UserError, match=why):
        node(text)


@given(st.one_of(st.binary(max_size=200), st.text("ab:/*[]{}\n -&!#ros__parametersinference_fps0123", max_size=200)))
def test_any_bytes_are_a_node_or_one_message(content: bytes | str) -> None:
    """Any content is an inference node or raises ``UserError``."""
    data = content if isinstance(content, bytes) else content.encode()
    with contextlib.suppress(UserError):
        assert isaac_ros.inference_node(isaac_ros.nodes(data, "p"), "p", None).lines


def test_a_missing_file(tmp_path: Path) -> None:
    """If the parameter file is missing, the message has its path and what to correct."""
    with pytest.raises(UserError, match=r"cannot be read: .*correct isaac_ros"):
        isaac_ros.read(tmp_path / "params.yaml")
