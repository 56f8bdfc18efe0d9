"""Let the parser of TensorRT-RTX read an ONNX file in a child process, where it is installed; no GPU is needed.

``python -m hil.onnx_files.parser_trial FILE`` is the child.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

MODULES = ("tensorrt_rtx", "tensorrt_rtx_bindings")
"""Names of the module: as the metapackage installs it, and as its wheels do without the metapackage."""

MODULE = "hil.onnx_files.parser_trial"
ABSENT = "TensorRT-RTX is not installed"

NEEDS_GPU = "Cuda Runtime"
"""Text in the parser's message if it needs a GPU to compute a shape and there is none: it does not refuse the file."""

REFUSES = ("API Usage Error", "Shape Error")
"""Texts in the parser's message if it refuses the file; without a GPU, lines about CUDA follow."""

SECONDS = 60.0
"""The time limit of the child."""


@dataclass(frozen=True)
class ParserAnswer:
    """The parser's answer on a file.

    Attributes:
        version: the version of TensorRT-RTX; empty if it is not installed, or if the child ended without an answer.
        refusal: why the parser refuses the file; empty if the parser accepts the file or gave no answer.
        advice: what to do about the refusal.
        trouble: why the parser gave no answer; empty if it gave one.
    """

    version: str = ""
    refusal: str = ""
    advice: str = ""
    trouble: str = ""


def parser_module() -> str | None:
    """Return the name of TensorRT-RTX's module that this interpreter can import; ``None`` if it is not installed."""
    return next((name for name in MODULES if find_spec(name) is not None), None)


class ParserTrial:
    """A child process in which the parser reads the file ``model`` while the caller does something else."""

    def __init__(self, model: Path) -> None:
        """Start the child, if the parser is installed."""
        command = [sys.executable, "-m", MODULE, str(model)]
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        self._child: subprocess.Popen[bytes] | None = None
        if parser_module() is not None:
            self._child = subprocess.Popen(command, stdin=nothing, stdout=pipe, stderr=pipe)  # noqa: S603 - words

    def answer(self, seconds: float = SECONDS) -> ParserAnswer:
        """Return the parser's answer, and end the child. Never raises for a file that the parser cannot read."""
        if self._child is None:
            return ParserAnswer(trouble=ABSENT)
        with self._child as child:
            try:
                out, err = child.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                child.kill()
                return ParserAnswer(trouble=f"TensorRT-RTX's parser gave no answer within {seconds:.0f} s")
        try:
            return ParserAnswer(**json.loads(out))
        except (ValueError, TypeError):
            lines = err.decode("utf-8", "replace").strip().splitlines()
            last = lines[-1][:300] if lines else "no output"
            return ParserAnswer(trouble=f"TensorRT-RTX's parser ended with code {child.returncode} ({last})")

    def stop(self) -> None:
        """End the child without an answer."""
        if self._child is not None:
            with self._child as child:
                child.kill()


def parse_answer(trt: Any, path: str) -> dict[str, str]:
    """Let the parser of the module ``trt`` read the ONNX file at ``path``; return the fields of a ``ParserAnswer``."""
    from hil.agent.failure import Failure
    from hil.agent.runtimes.tensorrt import api, log, open_builder, parse

    version, journal = str(trt.__version__), log.of(trt)
    try:
        builder = open_builder.require(lambda: trt.Builder(journal), "builder", journal)
        network = open_builder.require(lambda: api.network(trt, builder), "network", journal)
    except Failure as failure:
        return {"version": version, "trouble": failure.message}
    try:
        parse.parse(trt, network, journal, path)
    except Failure as failure:
        if NEEDS_GPU in failure.message and not any(word in failure.message for word in REFUSES):
            return {"version": version, "trouble": "TensorRT-RTX's parser needs a GPU to read this file"}
        refusal = failure.message.partition(" [checkMacros.cpp::catchCudaError")[0]
        return {"version": version, "refusal": refusal, "advice": failure.advice or ""}
    return {"version": version}


def main() -> None:
    """Print the answer on the file that the command line names as JSON; what native code prints goes to stderr."""
    answering = os.dup(1)
    os.dup2(2, 1)
    module = parser_module()
    answer = parse_answer(import_module(module), sys.argv[1]) if module else {"trouble": ABSENT}
    os.write(answering, json.dumps(answer).encode())


if __name__ == "__main__":
    main()
