"""TensorRT-RTX's parser in a child process: its answers, and what happens without one."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import pytest

from hil.onnx_files import parser_trial
from hil.onnx_files.parser_trial import ParserTrial, parser_module
from tests.agent import models

needs_parser = pytest.mark.skipif(parser_module() is None, reason="TensorRT-RTX has no package for this machine")


@needs_parser
def test_the_parser_takes_a_model(tmp_path: Path) -> None:
    """A sound model is accepted, and the version is stated."""
    answer = ParserTrial(models.tiny(tmp_path / "m.onnx")).answer()
    assert (answer.refusal, answer.trouble) == ("", "")
    assert answer.version.startswith("1.")


@needs_parser
def test_a_refusal_names_the_node(tmp_path: Path) -> None:
    """A refusal has node, operator and opset, with advice."""
    answer = ParserTrial(models.unknown_operator(tmp_path / "m.onnx")).answer()
    assert "node 'odd_node' (Frobnicate, opset 13)" in answer.refusal
    assert "plugin" in answer.advice


@needs_parser
def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    """Bytes that are not a model are a refusal, not a crash."""
    (tmp_path / "m.onnx").write_bytes(b"\x08\x01 nothing")
    assert ParserTrial(tmp_path / "m.onnx").answer().refusal


@needs_parser
def test_a_shape_that_needs_a_gpu_is_no_refusal(tmp_path: Path) -> None:
    """If the parser needs a GPU to compute a size, this is not a refusal; without a GPU, the trouble states it."""
    text = """
        <ir_version: 9, opset_import: ["": 17]>
        sized (float[n, 3, 8, 8] x, float[2] size) => (float[n, 3, h, w] y) <float[2] head = {1, 3}> {
            wanted = Concat <axis = 0> (head, size)
            sizes = Cast <to = 7> (wanted)
            y = Resize <mode = "nearest"> (x, "", "", sizes)
        }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    answer = ParserTrial(tmp_path / "m.onnx").answer()
    assert answer.refusal == ""
    if not any(Path("/dev").glob("nv[ih]*")):  # nvidia0 or nvhost-gpu
        assert "needs a GPU" in answer.trouble


@needs_parser
def test_a_refusal_that_is_followed_by_a_missing_gpu_stays_one(tmp_path: Path) -> None:
    """A refusal of a type stays a refusal, even if lines about a missing GPU follow."""
    text = """
        <ir_version: 9, opset_import: ["": 17]>
        bytes (uint8[2, 4] x) => (uint8[2, 4] y) { y = Add(x, x) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    answer = ParserTrial(tmp_path / "m.onnx").answer()
    assert "UInt8" in answer.refusal
    assert "Cuda" not in answer.refusal


def test_without_the_parser_there_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without TensorRT-RTX, the answer states that it is not installed."""
    monkeypatch.setattr(parser_trial, "MODULES", ("tensorrt_of_nobody",))
    answer = ParserTrial(tmp_path / "m.onnx").answer()
    assert (answer.version, answer.trouble) == ("", "TensorRT-RTX is not installed")


@pytest.mark.parametrize(
    ("program", "trouble"),
    [("json.tool", "ended with code"), ("timeit", "ended with code"), ("this", "ended with code 0")],
)
def test_a_crash_is_no_answer(program: str, trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that ends without an answer is reported as such, whatever its exit code."""
    monkeypatch.setattr(parser_trial, "MODULES", ("json",))
    monkeypatch.setattr(parser_trial, "MODULE", program)
    answer = ParserTrial(tmp_path / "m.onnx").answer()
    assert (answer.version, answer.refusal) == ("", "")
    assert trouble in answer.trouble


def test_a_parser_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time limit the child is ended, and there is no answer."""
    os.mkfifo(tmp_path / "m.onnx")  # nobody writes to it, so that whoever opens it waits
    monkeypatch.setattr(parser_trial, "MODULES", ("json",))
    monkeypatch.setattr(parser_trial, "MODULE", "json.tool")
    answer = ParserTrial(tmp_path / "m.onnx").answer(0.3)
    assert "no answer within" in answer.trouble
