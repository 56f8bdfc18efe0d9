"""Walk one of our modules with the TensorRT releases that are possible at each point, and collect problems."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.agent.runtimes.tensorrt_guards import literal_name, once, owner_of, source_of
from tests.agent.runtimes.tensorrt_matrix import ALL, MODULE, spelled

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.agent.runtimes.tensorrt_guards import Module, Versions
    from tests.agent.runtimes.tensorrt_uses import Package

NONE: Versions = frozenset()


def is_private(node: ast.Attribute | ast.FunctionDef) -> bool:
    """Return whether ``node`` defines or reads a private name (``_x``), which only its own package uses."""
    name = node.name if isinstance(node, ast.FunctionDef) else node.attr
    reads = isinstance(node, ast.FunctionDef) or isinstance(node.ctx, ast.Load)
    return reads and name.startswith("_") and not name.startswith("__")


def private_key(module: str, node: ast.Attribute) -> tuple[str, str]:
    """Return (scope, name) of a private method: the scope is its module for ``self._x``, else all modules (``""``)."""
    own = isinstance(node.value, ast.Name) and node.value.id == "self"
    return (module if own else "", node.attr)


@dataclass(frozen=True, order=True)
class Finding:
    """A use of a name that some possible release lacks."""

    module: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.module}.py:{self.line}: {self.what}"


class Walk:
    """The walk of one module."""

    def __init__(self, package: Package, module: Module) -> None:
        self.package, self.module, self.matrix = package, module, package.matrix
        self.findings: list[Finding] = []
        self.mentions: dict[tuple[str, str], Versions] = {}
        self.known: Mapping[str, ast.expr] = {}
        self.returning = NONE

    def module_body(self) -> None:
        """Walk the whole module."""
        for node in self.module.tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                self.definition(node, self.package.entry(self.module.name, node.name))
            else:
                self.steps([node], ALL)

    def definition(self, node: ast.FunctionDef | ast.ClassDef, now: Versions) -> Versions:
        """Walk a function or class; return the releases under which a call of it returns.

        Nested definitions start with the releases at their place.
        """
        outer, self.known = self.known, {**self.known, **once(node)}
        for decorator in node.decorator_list:
            self.expression(decorator, now)
        if isinstance(node, ast.ClassDef):
            for base in node.bases:
                self.expression(base, now)
            self.callbacks(node, now)
        else:
            for default in (*node.args.defaults, *filter(None, node.args.kw_defaults)):
                self.expression(default, now)
        outer_returning, self.returning = self.returning, NONE
        if isinstance(node, ast.FunctionDef):
            ends = self.steps(node.body, now) | self.returning
        else:
            ends = self.members(node, now)
        self.known, self.returning = outer, outer_returning
        return ends

    def members(self, node: ast.ClassDef, now: Versions) -> Versions:
        """Walk the body of a class."""
        for part in node.body:
            if isinstance(part, ast.FunctionDef) and is_private(part):
                self.definition(part, now & self.package.entry(self.module.name, part.name))
            else:
                self.step(part, now)
        return now

    def steps(self, body: Iterable[ast.stmt], now: Versions) -> Versions:
        """Walk consecutive statements; return the releases under which their end is reached."""
        for step in body:
            now = self.step(step, now)
        return now

    def step(self, node: ast.stmt, now: Versions) -> Versions:
        """Walk one statement; return the releases under which the next one is reached."""
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            self.definition(node, now)
        elif isinstance(node, ast.If | ast.While):
            holds, fails = self.condition(node.test, now)
            ends = self.steps(node.body, holds) | self.steps(node.orelse, fails)
            return ends if isinstance(node, ast.If) else now
        elif isinstance(node, ast.Import | ast.ImportFrom):
            self.imports(node)
        elif isinstance(node, ast.Assert):
            return self.condition(node.test, now)[0]
        elif isinstance(node, ast.Try):
            ends = self.steps(node.orelse, self.steps(node.body, now))
            for handler in node.handlers:
                ends |= self.steps(handler.body, now)
            self.steps(node.finalbody, now)
            return ends
        elif isinstance(node, ast.For | ast.With):
            heads = (
                [node.iter, node.target] if isinstance(node, ast.For) else [item.context_expr for item in node.items]
            )
            for head in heads:
                self.expression(head, now)
            ends = self.steps(node.body, now)
            return (now | self.steps(node.orelse, now)) if isinstance(node, ast.For) else ends
        else:
            skipped = node.annotation if isinstance(node, ast.AnnAssign) else None
            self.parts((part for part in ast.iter_child_nodes(node) if part is not skipped), now)
            now = self.after(node, now)
        if isinstance(node, ast.Return):
            self.returning |= now
        return NONE if isinstance(node, ast.Return | ast.Raise | ast.Continue | ast.Break) else now

    def after(self, node: ast.stmt, now: Versions) -> Versions:
        """Return the releases left after a call of a function, which raises under the others."""
        value = node.value if isinstance(node, ast.Expr | ast.Assign | ast.AnnAssign | ast.Return) else None
        target = self.package.target(value.func, self.module) if isinstance(value, ast.Call) else None
        return now & self.package.returns.get(target, ALL) if target else now

    def imports(self, node: ast.Import | ast.ImportFrom) -> None:
        """Require that TensorRT is imported as a module under a known name."""
        one_by_one = isinstance(node, ast.ImportFrom) and node.level == 0 and node.module == MODULE
        renamed = [name for name in node.names if name.name == MODULE and name.asname not in {None, "trt"}]
        if one_by_one or (isinstance(node, ast.Import) and renamed):
            self.report(node.lineno, "import tensorrt whole, as tensorrt or trt")

    def parts(self, nodes: Iterable[ast.AST], now: Versions) -> None:
        """Walk expressions that are all evaluated."""
        for node in nodes:
            self.expression(node, now)

    def condition(self, node: ast.expr, now: Versions) -> tuple[Versions, Versions]:
        """Walk a condition and split the releases by it."""
        self.expression(node, now)
        return self.package.conditions.split(node, self.module, self.known, now)

    def expression(self, node: ast.AST, now: Versions) -> None:
        """Walk an expression and all parts of it."""
        self.mention(node, now)
        if isinstance(node, ast.IfExp):
            holds, fails = self.condition(node.test, now)
            self.expression(node.body, holds)
            self.expression(node.orelse, fails)
        elif isinstance(node, ast.BoolOp):
            for value in node.values:
                holds, fails = self.condition(value, now)
                now = holds if isinstance(node.op, ast.And) else fails
        elif isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
            for generator in node.generators:
                self.parts([generator.iter, generator.target], now)
                for test in generator.ifs:
                    now = self.condition(test, now)[0]
            self.parts([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt], now)
        else:
            if isinstance(node, ast.Attribute):
                self.attribute(node.value, node.attr, node.lineno, now)
            elif isinstance(node, ast.Call):
                self.call(node, now)
            self.parts(ast.iter_child_nodes(node), now)

    def mention(self, node: ast.AST, now: Versions) -> None:
        """Record the releases under which a function, class or private method is mentioned."""
        target = self.package.target(node, self.module) if isinstance(getattr(node, "ctx", None), ast.Load) else None
        if target is None and isinstance(node, ast.Attribute) and is_private(node):
            target = private_key(self.module.name, node)
        if target is not None:
            self.mentions[target] = self.mentions.get(target, NONE) | now

    def call(self, node: ast.Call, now: Versions) -> None:
        """Check the names passed to ``hasattr`` and the like."""
        for function in ("hasattr", "getattr", "setattr", "delattr"):
            name = literal_name(node, function)
            if name is None:
                self.computed(node, function)
                continue
            owner = owner_of(source_of(node.args[0]), self.matrix)
            known = self.matrix.classes[owner] if owner is not None else self.matrix.names()
            if name not in known and name in self.package.ours:
                self.package.spared.add(name)
            elif name not in known:
                self.report(node.lineno, f"{function} asks for {name!r}, which {owner or 'nothing'} has in no release")
            elif function != "hasattr" and not (function == "getattr" and len(node.args) == 3):
                self.attribute(node.args[0], name, node.lineno, now)

    def computed(self, node: ast.Call, function: str) -> None:
        """Report a computed name, which cannot be checked, unless it has a default or a listed reason."""
        called = isinstance(node.func, ast.Name) and node.func.id == function
        if called and function != "hasattr" and not (function == "getattr" and len(node.args) == 3):
            text = source_of(node)
            self.package.spared |= {text} & set(self.package.ours)
            if text not in self.package.ours:
                self.report(node.lineno, f"{text}: the name is computed")

    def attribute(self, receiver: ast.expr, name: str, line: int, now: Versions) -> None:
        """Check a use of ``name``."""
        text = source_of(receiver)
        owner = owner_of(text, self.matrix)
        if name.startswith("__") and name != "__version__":
            return
        if owner is not None and name in self.matrix.classes[owner]:
            self.lacking(f"{owner}.{name}", now - self.matrix.classes[owner][name], line)
        elif owner == MODULE or (owner is not None and text.endswith(owner)):
            self.report(line, f"{owner}.{name} is there in no release")
        elif not self._not_theirs(receiver, name):
            for other, names in self.matrix.classes.items():
                missing = now & (self.matrix.there(other) - names.get(name, ALL)) if name in names else NONE
                if missing and name in self.package.ours:
                    self.package.spared.add(name)
                elif missing:
                    self.lacking(f"{other}.{name}", missing, line)

    def _not_theirs(self, receiver: ast.expr, name: str) -> bool:
        """Return whether an object is certainly not TensorRT's: an imported module, a literal, our own ``self``."""
        if isinstance(receiver, ast.Name) and receiver.id == "self":
            return name in self.module.own
        if isinstance(receiver, ast.Name) and receiver.id in self.module.imported:
            return receiver.id not in {"trt", "tensorrt"}
        return isinstance(receiver, ast.Constant | ast.JoinedStr | ast.List | ast.Dict)

    def callbacks(self, node: ast.ClassDef, now: Versions) -> None:
        """Require that a subclass of a TensorRT interface defines the methods that each release calls."""
        for base in node.bases:
            owner = owner_of(source_of(base), self.matrix)
            required = self.matrix.callbacks.get(owner or "", {})
            if required:
                methods = {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
                satisfied = NONE.union(*(versions for name, versions in required.items() if name in methods))
                self.lacking(
                    f"a method that {owner} calls", now & self.matrix.there(str(owner)) - satisfied, node.lineno
                )

    def lacking(self, what: str, versions: Versions, line: int) -> None:
        """Report a name that is missing in ``versions``."""
        if versions:
            self.report(line, f"{what} is missing in {spelled(versions)}")

    def report(self, line: int, what: str) -> None:
        """Record a finding."""
        self.findings.append(Finding(self.module.name, line, what))
