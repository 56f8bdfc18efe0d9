"""The releases of TensorRT under which a condition in our code can hold or fail.

``hasattr(x, "name")`` is feature detection: if it holds, the release has the name. A condition thus splits the possible
releases. This module understands ``hasattr``, ``getattr(x, "name", None)`` compared to ``None``, ``not``, ``and``,
``or``, names and attributes of ``self`` that are assigned once, functions that only return such a condition, and
conditions declared in a table.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from tests.agent.runtimes.tensorrt_matrix import ALL, MODULE, Matrix

if TYPE_CHECKING:
    from collections.abc import Mapping

Versions = frozenset[str]
Split = tuple[Versions, Versions]

RECEIVERS = {
    "trt": MODULE,
    "tensorrt": MODULE,
    "builder": "Builder",
    "config": "IBuilderConfig",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "inspector": "EngineInspector",
    "registry": "IPluginRegistry",
    "layer": "ILayer",
}
"""Names of TensorRT objects in our code. Any other expression is checked against every class with the attribute."""


@dataclass(frozen=True)
class Declared:
    """A condition that implies feature detection elsewhere: names that exist if it holds, and if it fails."""

    holds: str
    fails: str
    reason: str


@dataclass
class Module:
    """A module of ours, for reading conditions: its functions and classes, imports, and attributes assigned once."""

    name: str
    tree: ast.Module
    defined: dict[str, ast.AST] = field(default_factory=dict)
    imported: dict[str, str] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        kinds = (ast.FunctionDef, ast.ClassDef)
        self.defined = {node.name: node for node in self.tree.body if isinstance(node, kinds)}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                self.imported.update({name.asname or name.name.split(".")[0]: name.name for name in node.names})
            elif isinstance(node, ast.ClassDef):
                members = [part for part in node.body if isinstance(part, ast.FunctionDef)]
                self.own.update(part.name for part in members)
                self.own.update(
                    part.target.id
                    for part in node.body
                    if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
                )
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_self(node.value):
                self.own.add(node.attr)


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


@cache
def source_of(node: ast.AST) -> str:
    """Return the source of a node; cached, since each node is walked several times."""
    return ast.unparse(node)


@cache
def once(scope: ast.AST) -> dict[str, ast.expr]:
    """Return each name that is assigned exactly once in ``scope``, with its value (``self.x`` for attributes)."""
    values_by_name: dict[str, list[ast.expr | None]] = {}
    for node in ast.walk(scope):
        targets: list[ast.expr] = []
        value: ast.expr | None = None
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign | ast.AugAssign):
            targets, value = [node.target], node.value if isinstance(node, ast.AnnAssign) else None
        elif isinstance(node, ast.For | ast.comprehension):
            targets = [node.target]
        for target in targets:
            parts = target.elts if isinstance(target, ast.Tuple) else [target]
            for part in parts:
                values_by_name.setdefault(source_of(part), []).append(value if part is target else None)
    return {name: values[0] for name, values in values_by_name.items() if len(values) == 1 and values[0] is not None}


@dataclass
class Conditions:
    """Reads the conditions in one package of modules."""

    matrix: Matrix
    modules: Mapping[str, Module]
    declared: Mapping[str, Declared]
    used: set[str] = field(default_factory=set)

    def split(self, node: ast.expr, module: Module, known: Mapping[str, ast.expr], now: Versions) -> Split:
        """Return the releases of ``now`` under which the condition may hold, and those under which it may fail."""
        text = source_of(node)
        if text in self.declared:
            self.used.add(text)
            return (now & self.having(self.declared[text].holds)[0], now & self.having(self.declared[text].fails)[0])
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            holds, fails = self.split(node.operand, module, known, now)
            return fails, holds
        if isinstance(node, ast.BoolOp):
            return self._chain(node, module, known, now)
        if isinstance(node, ast.Call):
            return self._call(node, module, now)
        return self._stored(node, module, known, now)

    def _chain(self, node: ast.BoolOp, module: Module, known: Mapping[str, ast.expr], now: Versions) -> Split:
        ends: Versions = frozenset()
        for value in node.values:
            holds, fails = self.split(value, module, known, now)
            now, ended = (holds, fails) if isinstance(node.op, ast.And) else (fails, holds)
            ends |= ended
        return (now, ends) if isinstance(node.op, ast.And) else (ends, now)

    def _stored(self, node: ast.expr, module: Module, known: Mapping[str, ast.expr], now: Versions) -> Split:
        """Split by ``x is None``, ``x is not None`` or ``x``, where ``x`` is a ``getattr`` or a named condition."""
        compared = isinstance(node, ast.Compare) and source_of(node).endswith((" is None", " is not None"))
        subject = node.left if compared and isinstance(node, ast.Compare) else node
        value = known.get(source_of(subject), subject)
        if literal_name(value, "getattr") and isinstance(value, ast.Call):
            default = source_of(value.args[2]) if len(value.args) == 3 else ""
            some, every = self.having(source_of(value.args[0]), literal_name(value, "getattr"))
            # An existing value may be false, so only "is None" shows that it does not exist.
            holds = now & some if default in {"None", "False"} else now
            fails = now - every if compared and default == "None" else now
        else:
            holds, fails = (now, now) if value is node else self.split(value, module, {}, now)
        return (fails, holds) if compared and source_of(node).endswith(" is None") else (holds, fails)

    def _call(self, node: ast.Call, module: Module, now: Versions) -> Split:
        if literal_name(node, "hasattr"):
            some, every = self.having(source_of(node.args[0]), literal_name(node, "hasattr"))
            return now & some, now - every
        target = self.function(node.func, module)
        if target is None:
            return now, now
        home, function = target
        *steps, last = function.body
        plain = all(
            isinstance(step, ast.Assign) or (isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant))
            for step in steps
        )
        if plain and isinstance(last, ast.Return) and last.value is not None:
            return self.split(last.value, home, once(function), now)
        return now, now

    def function(self, node: ast.expr, module: Module) -> tuple[Module, ast.FunctionDef] | None:
        """Return module and definition of the package's function that an expression names; None for any other."""
        home, name = module, node.id if isinstance(node, ast.Name) else ""
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            home = self.modules.get(module.imported.get(node.value.id, ""), module)
            name = node.attr if home is not module else ""
        elif name in module.imported:
            home = next((other for other in self.modules.values() if name in other.defined), module)
        definition = home.defined.get(name)
        return (home, definition) if isinstance(definition, ast.FunctionDef) else None

    def having(self, receiver: str, name: str | None = None) -> tuple[Versions, Versions]:
        """Return the releases in which a possible class of ``receiver`` has the name, and those where all have it."""
        if name is None:
            receiver, _, name = receiver.rpartition(".")
        owner = owner_of(receiver, self.matrix)
        owners = [owner] if owner is not None else list(self.matrix.classes)
        releases = [self.matrix.classes[possible][name] for possible in owners if name in self.matrix.classes[possible]]
        return (frozenset[str]().union(*releases), ALL.intersection(*releases)) if releases else (ALL, frozenset())


def literal_name(node: ast.AST, function: str) -> str | None:
    """Return the literal attribute name in a call of ``function``, such as ``hasattr``; None for any other node."""
    name = None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function:
        name = node.args[1] if len(node.args) > 1 else None
    return name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else None


def owner_of(receiver: str, matrix: Matrix) -> str | None:
    """Return the class of an expression by our names for such objects; None if it is unknown."""
    if receiver in matrix.classes and receiver != MODULE:
        return receiver
    before, _, last = receiver.rpartition(".")
    if before.rpartition(".")[2].lstrip("_") in {"trt", "tensorrt"} and last in matrix.classes:
        return last
    return RECEIVERS.get(last.lstrip("_"))
