"""Which names of TensorRT our code uses, and under which releases each use can be reached.

Each function is walked (``tensorrt_walk``) with the set of releases that are possible at that point, which conditions
narrow (``tensorrt_guards``). A function starts with the releases of all places that mention it, a method with those of
its class. A use is valid if every release that is possible there has the name.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.agent.runtimes.tensorrt_guards import Conditions, Declared, Module, Versions
from tests.agent.runtimes.tensorrt_matrix import ALL, Matrix
from tests.agent.runtimes.tensorrt_walk import NONE, Finding, Walk, is_private, private_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass
class Package:
    """Our modules by name, checked against the matrix.

    ``ours`` lists attributes that are not TensorRT's in our code, with reasons.
    """

    sources: Mapping[str, str]
    matrix: Matrix
    declared: Mapping[str, Declared] = field(default_factory=dict)
    ours: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.modules = {name: Module(name, ast.parse(source)) for name, source in self.sources.items()}
        self.conditions = Conditions(self.matrix, self.modules, self.declared)
        self.entries: dict[tuple[str, str], Versions] = {}
        self.returns: dict[tuple[str, str], Versions] = {}
        self.spared: set[str] = set()

    def findings(self) -> list[Finding]:
        """Return all problems, sorted by place."""
        self._compute_returns()
        mentioned: dict[tuple[str, str], Versions] = {}
        while True:
            walks = [Walk(self, module) for module in self.modules.values()]
            for walk in walks:
                walk.module_body()
            before = mentioned
            mentioned = {}
            for walk in walks:
                for key, versions in walk.mentions.items():
                    mentioned[key] = mentioned.get(key, NONE) | versions
            self.entries = mentioned
            if mentioned == before:
                return sorted({finding for walk in walks for finding in walk.findings})

    def _compute_returns(self) -> None:
        """Compute the releases under which each function returns instead of raising."""
        before = None
        while self.returns != before:
            before = dict(self.returns)
            for name, module in self.modules.items():
                for node in module.tree.body:
                    if isinstance(node, ast.FunctionDef):
                        self.returns[name, node.name] = Walk(self, module).definition(node, ALL)

    def entry(self, module: str, name: str) -> Versions:
        """Return the releases under which a function or class is reached; all if nothing here mentions it."""
        keys = {(module, name), ("", name)} & self.mentionable
        return NONE.union(*(self.entries.get(key, NONE) for key in keys)) if keys else ALL

    @property
    def mentionable(self) -> set[tuple[str, str]]:
        """The functions, classes and private methods that code of the package mentions, as (scope, name)."""
        if not hasattr(self, "_mentionable"):
            self._mentionable = {key for module in self.modules.values() for key in self._mentions(module)}
        return self._mentionable

    def _mentions(self, module: Module) -> Iterator[tuple[str, str]]:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and is_private(node):
                yield private_key(module.name, node)
            if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
                target = self.target(node, module)
                if target is not None:
                    yield target

    def target(self, node: ast.AST, module: Module) -> tuple[str, str] | None:
        """Return module and name of the package's function or class that an expression mentions; None for any other."""
        if isinstance(node, ast.Name):
            if node.id in module.defined:
                return (module.name, node.id)
            if node.id in module.imported:
                return next(
                    ((other.name, node.id) for other in self.modules.values() if node.id in other.defined), None
                )
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            home = module.imported.get(node.value.id, "")
            if home in self.modules and node.attr in self.modules[home].defined:
                return (home, node.attr)
        return None
