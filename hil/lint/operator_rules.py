"""Find operators that TensorRT's parser does not import, by the list of the release; the GPU does not matter."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import onnx

from hil.lint.model_findings import Finding, nodes
from hil.lint.operator_lists import importing, importing_anywhere, newest_opset, release_lists, shipped_plugins

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hil.lint.machine import Machine
    from hil.lint.model_graph import Graph

STANDARD = frozenset({"", "ai.onnx"})
CONTRIBUTED = frozenset({"com.microsoft", "trt", "TRT", "trt.plugins"})
"""Domains whose operators have the meaning of the parser's importers of the same name."""

REPLACE = "replace the operator, or add a plugin library that has it to plugins in [models.M.build]"
LOCAL_FUNCTIONS = 10
"""The first major release that imports calls of local functions. Source: ``LocalFunctionImporter`` of onnx-tensorrt."""


def operator_findings(graph: Graph, machine: Machine, *, plugins: bool) -> Iterator[Finding]:
    """Yield the findings on operators that the parser does not import, and on local functions.

    ``plugins`` is whether the config names plugin libraries, which may have any operator.
    """
    used: defaultdict[tuple[str, str], list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.nodes:
        used[node.domain, node.op_type].append(node)
    for (domain, operator), concerned in used.items():
        if (domain, operator) in graph.functions:
            if machine.major is not None and machine.major < LOCAL_FUNCTIONS:
                what = f"TensorRT {machine.tensorrt} does not import calls of local functions"
                fix = "export the model without functions, or inline them with onnx.inliner.inline_local_functions"
                yield Finding("function", nodes(concerned), what, fix)
        elif operator not in shipped_plugins():
            yield from _operator(domain, operator, concerned, machine, plugins=plugins)


def _operator(
    domain: str, operator: str, concerned: Sequence[onnx.NodeProto], machine: Machine, *, plugins: bool
) -> Iterator[Finding]:
    where = nodes(concerned)
    if machine.tensorrt is None and machine.release is None:
        answer = "yes" if importing_anywhere(operator) else "no"
        who = "no listed release of TensorRT"
    else:
        answer = importing(operator, machine.tensorrt)
        who = f"TensorRT {machine.tensorrt or 'of unknown version'}"
    rule = "operator" if domain in STANDARD else "domain"
    if answer == "no" and plugins:
        what = f"the parser does not import it, so one of the plugins must have it, for {machine}"
        yield Finding(rule, where, what, "check that a library in plugins registers a plugin of this name", "unknown")
    elif answer == "no":
        verb = "imports" if who.startswith("no ") else "does not import"
        yield Finding(rule, where, f"{who} {verb} this operator", REPLACE)
    elif answer == "unknown" and release_lists(machine.tensorrt):
        older, newer = release_lists(machine.tensorrt)
        what = f"no operator list of {who} is known, and the lists of {older.tensorrt} and {newer.tensorrt} differ"
        yield Finding(rule, where, what, "build the model on the board: hil build MODEL --target TARGET", "unknown")
    elif domain not in STANDARD | CONTRIBUTED and answer != "unknown":
        what = f"the parser ignores the domain {domain!r} and imports the operator as ONNX's own {operator}"
        yield Finding(rule, where, what, "use ONNX's operator, or give yours another name and a plugin", "warn")


def sparse_findings(graph: Graph) -> Iterator[Finding]:
    """Yield the finding on sparse weights. Source: the parser of TensorRT-RTX 1.7 refuses both of their forms."""
    names = [one.values.name for one in graph.proto.graph.sparse_initializer]
    names += [node.output[0] for node in graph.nodes if "sparse_value" in {one.name for one in node.attribute}]
    if names:
        more = f" and {len(names) - 1} others" if len(names) > 1 else ""
        what = "the parser does not read sparse weights"
        yield Finding("sparse", f"weight {names[0]!r}{more}", what, "export the model with its weights in full")


def opset_findings(graph: Graph, machine: Machine) -> Iterator[Finding]:
    """Yield the finding on nodes whose inputs or attributes are newer than the newest opset that the parser supports.

    If no operator list of the machine's release is known, yield a finding that states this.
    """
    newest, opset = newest_opset(machine.tensorrt), graph.signature.opset
    if newest is None:
        if machine.release is not None or machine.tensorrt is not None:
            what = f"no operator list of TensorRT {machine.tensorrt or ''} is known".replace("  ", " ")
            fix = "build the model on the board: hil build MODEL --target TARGET"
            yield Finding("operator", f"opset {opset}", f"{what}, for {machine}", fix, "unknown")
        return
    if opset <= newest:
        return
    changed = [node for node in graph.nodes if node.domain in STANDARD and _is_newer(node, newest, opset)]
    if changed:
        names = ", ".join(sorted({node.op_type for node in changed}))
        what = (
            f"TensorRT {machine.tensorrt} supports opsets up to {newest}, and inputs or attributes here are of a newer "
            f"definition of {names}, up to opset {opset}"
        )
        fix = f"export the model with opset {newest}"
        yield Finding("opset", nodes(changed), what, fix, "warn")


def _is_newer(node: onnx.NodeProto, newest: int, opset: int) -> bool:
    """Return whether ``node``, of ``opset``, has inputs or attributes that its operator did not have in ``newest``.

    It is false for an operator that ``onnx`` does not know.
    """
    try:
        older, own = (onnx.defs.get_schema(node.op_type, version, "") for version in (newest, opset))
    except (onnx.defs.SchemaError, TypeError, OverflowError):  # an unknown operator, or an opset beyond 32 bits
        return False
    if older.since_version == own.since_version:
        return False
    return len(node.input) > older.max_input or any(one.name not in older.attributes for one in node.attribute)
