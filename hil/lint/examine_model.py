"""Read a model's file once, and return what every rule finds in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hil.agent.runtimes.onnxruntime import WHOLE_FILE
from hil.errors import UserError
from hil.lint.dla_rules import Eligible, dla_findings, eligible, has_dla
from hil.lint.memory_estimate import Memory, estimate, memory_findings
from hil.lint.model_findings import LEVELS, Finding
from hil.lint.model_graph import Graph, has_broken_text, read_graph
from hil.lint.operator_rules import operator_findings, opset_findings, sparse_findings
from hil.lint.precision_rules import precision_findings
from hil.lint.quantization_rules import quantization_findings
from hil.lint.shape_rules import shape_findings
from hil.lint.type_rules import type_findings
from hil.onnx_files.external_data import external_files_of
from hil.onnx_files.parser_trial import ParserAnswer, ParserTrial
from hil.onnx_files.signature import read_proto, signature_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import onnx

    from hil.config.spec import ModelSpec
    from hil.lint.machine import Machine

PLUGIN = re.compile(r"[Pp]lugin|creator")

LARGEST_CHECKED = 2**29
"""Bytes: a larger file is not copied for ONNX's checker; TensorRT's parser reads it in any case."""


@dataclass(frozen=True)
class Examined:
    """The result of examining a model.

    Attributes:
        path: the ONNX file.
        machine: the machine that it was examined for.
        findings: the findings, the worst first.
        parser: the answer of TensorRT-RTX's parser; ``None`` if it was not asked.
        memory: the estimate of the memory; ``None`` for a runtime that does not compile.
        eligible: how many layers a DLA may run; ``None`` unless the machine is known to have a DLA.
    """

    path: Path
    machine: Machine
    findings: tuple[Finding, ...]
    parser: ParserAnswer | None = None
    memory: Memory | None = None
    eligible: Eligible | None = None

    @property
    def stops(self) -> bool:
        """Whether a finding has the level ``bad``."""
        return any(one.level == "bad" for one in self.findings)


def examine(
    path: Path, machine: Machine, *, spec: ModelSpec | None = None, name: str = "", parser: bool = True
) -> Examined:
    """Return what is wrong with the ONNX file at ``path`` for ``machine``, without any target.

    ``spec`` is the config of the model ``name``, whose sizes, precisions, plugins and DLA core are used. With
    ``parser``, TensorRT-RTX's installed parser also reads a file without other faults. Raise ``UserError`` for a file
    that is not an ONNX model with inputs and outputs of numbers, and for declarations that contradict it.
    """
    proto = read_proto(path)
    if has_broken_text(proto):
        raise UserError(f"cannot read {path} as ONNX (a name in it is not UTF-8): model {path.stem}: {WHOLE_FILE}")
    signature = signature_of(proto, path)
    if spec is not None:
        from hil.onnx_files.declared import declare

        signature = declare(signature, spec, name, apart=True)
    batch = 1 if spec is None else spec.batch
    sizes = {
        **dict.fromkeys(signature.batch_names(), (1, batch, batch)),
        **(spec.shapes if spec else {}),
        **signature.sizes,
    }
    graph = read_graph(path, proto, signature, sizes)
    findings = list(_file_findings(graph))
    if not machine.compiles:
        what = "ONNX Runtime does not have this operator"
        fix = "replace it, or run the model on a target with TensorRT and a plugin"
        findings += [Finding("domain", f"operator {one}", what, fix) for one in signature.foreign]
        return Examined(path, machine, _sorted([*findings, *_random_findings(graph)]))
    trial = ParserTrial(path) if parser and not findings else None
    try:
        findings += _model_findings(graph, machine, spec, name or path.stem)
        memory = estimate(graph)
        findings += memory_findings(memory, machine)
        answer = None if trial is None else trial.answer()
    finally:
        if trial is not None:
            trial.stop()
    findings += _parser_findings(answer, findings)
    bound = eligible(graph) if has_dla(machine) else None
    return Examined(path, machine, _sorted(findings), answer, memory, bound)


def _model_findings(graph: Graph, machine: Machine, spec: ModelSpec | None, name: str) -> list[Finding]:
    """Return the findings of the rules on operators, types, shapes, quantization and the DLA."""
    findings = [
        *_random_findings(graph),
        *operator_findings(graph, machine, plugins=spec is not None and bool(spec.build.plugins)),
        *opset_findings(graph, machine),
        *sparse_findings(graph),
        *type_findings(graph, machine),
        *shape_findings(graph, spec, name),
        *quantization_findings(graph),
        *precision_findings(graph, machine, () if spec is None else spec.precisions),
    ]
    if spec is not None and spec.build.dla is not None:
        findings += dla_findings(graph, machine, spec.precisions)
    return findings


def _sorted(findings: list[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(dict.fromkeys(findings), key=lambda one: LEVELS.index(one.level)))


def _file_findings(graph: Graph) -> Iterator[Finding]:
    """Yield the findings on external data and on a graph that ONNX's own checker refuses."""
    external = False
    try:
        external = bool(external_files_of(graph.proto, graph.path))
    except UserError as error:
        what, _, fix = str(error).partition(f": model {graph.path}: ")
        yield Finding("external-data", f"file {graph.path.name}", what, fix)
        return
    why = _invalid(graph.proto, str(graph.path) if external else None)
    if why:
        yield Finding(
            "invalid", f"file {graph.path.name}", f"ONNX's checker refuses it: {why}", "export the model again"
        )


def _invalid(proto: onnx.ModelProto, path: str | None) -> str:
    """Return why ONNX's checker refuses the model; empty if it does not, or if only an operator is unknown to it."""
    import onnx

    if path is None and proto.ByteSize() > LARGEST_CHECKED:
        return ""
    subject: Any = path or proto
    try:
        onnx.checker.check_model(subject)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        why = " ".join(str(error).split("\n\n")[0].split())
        return "" if "No Op registered for" in why or "No opset import" in why else why[:300]
    return ""


def _random_findings(graph: Graph) -> Iterator[Finding]:
    what = "it draws random numbers, and outputs that depend on them cannot be compared with any engine's"
    fix = "export the model for inference, or with the random values as an input"
    yield from (Finding("random", one, what, fix, "warn") for one in graph.signature.random)


def _parser_findings(answer: ParserAnswer | None, others: list[Finding]) -> Iterator[Finding]:
    if answer is None or not answer.version:
        return
    where = f"TensorRT-RTX {answer.version}"
    if answer.trouble:
        yield Finding("parser", where, answer.trouble, "build the model on the board", "unknown")
    # An operator that the parser lacks, and that a list settles already, is not reported twice.
    elif answer.refusal and not any(one.rule in {"operator", "domain", "function", "sparse"} for one in others):
        what = f"its parser refuses the file (a Jetson's TensorRT may differ): {answer.refusal}"
        # TensorRT-RTX comes without the library of plugins with which TensorRT imports some operators.
        plugin = PLUGIN.search(answer.refusal) is not None
        yield Finding("parser", where, what, answer.advice, "unknown" if plugin else "bad")
