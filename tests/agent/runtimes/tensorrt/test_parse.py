"""Messages for a parser's errors, plugin libraries, and the log's limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.agent.failure import Failure
from hil.agent.runtimes.tensorrt import onnx_file, parse, plugins
from hil.agent.runtimes.tensorrt.log import LIMIT, Journal
from tests.agent import models
from tests.agent.runtimes.tensorrt.fake import Network, Trt

if TYPE_CHECKING:
    from pathlib import Path


class Error:
    """An error as in 8.x, with an index and without a name."""

    def __init__(self, index: int, text: str) -> None:
        self._index, self._text = index, text

    def node(self) -> int:
        """Return the index of the node, -1 if the error names no node."""
        return self._index

    def code(self) -> str:
        """Return the code as pybind11 spells it."""
        return "ErrorCode.UNSUPPORTED_NODE"

    def desc(self) -> str:
        """Return the description."""
        return self._text


class NamedError(Error):
    """An error as in 10, also with name and operator."""

    def node_name(self) -> str:
        """Return the node's name."""
        return "inner"

    def node_operator(self) -> str:
        """Return the node's operator."""
        return "Einsum"


def message(path: Path, *errors: Error) -> str:
    """Return the message of the failure that a parser with these errors causes."""

    class Refusing(Trt):
        def OnnxParser(self, network: Any, log: Any) -> Any:  # noqa: N802, ARG002 - TensorRT's name and signature
            names = {
                "parse_from_file": lambda _self, _path: False,
                "num_errors": len(errors),
                "get_error": lambda _self, index: errors[index],
            }
            return type("Parser", (), names)()

    journal = Journal()
    journal.add(1, "logged by TensorRT")
    with pytest.raises(Failure) as refused:
        parse.parse(Refusing(), Network(), journal, str(path))
    return f"{refused.value.message}: {refused.value.advice}"


def test_the_node_is_found_by_its_index(tmp_path: Path) -> None:
    """If the parser reports only the node's index, its name, operator and opset are read from the file."""
    path = models.tiny_qdq(tmp_path / "m.onnx")
    text = message(path, Error(2, "Assertion failed: bad rank"))
    assert "(opset 13): node 'multiply' (MatMul, opset 13): UNSUPPORTED_NODE: Assertion failed: bad rank" in text


def test_another_node_is_not_named(tmp_path: Path) -> None:
    """No node is named if the operator at the index is not the one in the error's text."""
    path = models.tiny(tmp_path / "m.onnx")
    text = message(path, Error(0, "No importer registered for op: Frobnicate"))
    assert "multiply" not in text
    assert "node 0 (Frobnicate, opset 13)" in text
    assert "plugins in [models.M.build]" in text
    assert "node" not in message(path, Error(-1, "Model is broken")).split("UNSUPPORTED_NODE")[0]


def test_the_parser_s_own_names_are_used(tmp_path: Path) -> None:
    """If the parser reports name and operator, only the opset comes from the file."""
    text = message(models.tiny(tmp_path / "m.onnx"), NamedError(0, "Unsupported equation"))
    assert "node 'inner' (Einsum, opset 13)" in text


def test_many_or_no_errors(tmp_path: Path) -> None:
    """At most three errors are shown, with the number of the others; without errors, TensorRT's log is quoted."""
    path = models.tiny(tmp_path / "m.onnx")
    assert "and 4 more" in message(path, *[Error(0, "x")] * 7)
    assert "logged by TensorRT" in message(path)
    (tmp_path / "bad").write_bytes(b"nothing")
    assert "node 3" not in message(tmp_path / "bad")


def test_advice_depends_on_the_error() -> None:
    """Missing operators, external weights and damaged files have their own advice; others a general one."""
    errors = ["No importer registered for op: A", "Failed to open external file w", "Failed to parse ONNX model", "?"]
    assert len({parse.advice(words) for words in errors}) == 4
    assert parse.advice("?") == parse.OTHERWISE


def test_no_outputs_is_refused(tmp_path: Path) -> None:
    """A parse that gives a network without outputs has failed."""
    with pytest.raises(Failure, match="no outputs"):
        parse.parse(Trt(outputs=[]), Network(), Journal(), str(models.tiny(tmp_path / "m.onnx")))
    assert onnx_file.read(str(tmp_path / "m.onnx")).opset() == 13


def test_a_plugin_library(tmp_path: Path) -> None:
    """A file that is not a library is refused with the loader's message; a library without plugins gives a warning."""
    (tmp_path / "libx.so").write_bytes(b"#!/bin/sh\n")
    with pytest.raises(Failure, match=r"plugin library libx\.so cannot be loaded: .*(header|short)"):
        plugins.load(Trt(), Journal(), [str(tmp_path / "libx.so")])
    with pytest.raises(Failure, match="cannot be loaded"):
        plugins.load(Trt(), Journal(), [str(tmp_path / "gone.so")])
    assert "registered no plugin" in plugins.load(Trt(), Journal(), [np.random.mtrand.__file__])[0]


@given(st.lists(st.tuples(st.integers(0, 4), st.text(max_size=40) | st.just("long " * 2000)), max_size=80))
def test_the_log_is_bounded(lines: list[tuple[int, str]]) -> None:
    """The log has at most ``LIMIT`` bytes and a line on what is left out, no verbose lines, and the first errors."""
    journal = Journal()
    for severity, text in lines:
        journal.add(severity, text)
    assert len(journal.text().encode()) <= LIMIT + 100
    assert len(journal.errors()) <= 1500
    first = next((" ".join(text.split()) for severity, text in lines if severity == 0), None)
    if first is not None:
        assert journal.errors().startswith(first[:1000])
    assert bool(journal.text()) == any(severity < 4 for severity, _ in lines)
