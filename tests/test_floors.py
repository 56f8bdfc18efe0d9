"""Import rules: a module imports only from levels below its own, also in functions and for type checkers."""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINKED = ("hil.fixtures", "hil.suites", "hil.plugins")
"""Packages that are links to top-level folders of the repository."""

FLOORS = (
    ("hil.agent",),
    ("hil", "hil.files", "hil.onnx_files"),
    ("hil.text",),
    ("hil.dtypes", "hil.errors"),
    ("hil.onnx_files.operators", "hil.onnx_files.multiply_adds"),
    ("hil.onnx_files.precisions", "hil.onnx_files.random_operators"),
    ("hil.onnx_files.quantized_graph",),
    (
        "hil.files.digests",
        "hil.gate.exitcode",
        "hil.config.policy",
        "hil.runtimes",
        "hil.units",
    ),
    ("hil.files.sealing", "hil.files.strictjson", "hil.onnx_files.host_run"),
    ("hil.jetson",),
    ("hil.results",),
    ("hil.stats",),
    ("hil.series",),
    ("hil.baseline",),
    ("hil.catalogue", "hil.onnx_files.signature"),
    ("hil.onnx_files.declared_shapes", "hil.onnx_files.dimension_names"),
    ("hil.onnx_files.imported_modules", "hil.onnx_files.external_data", "hil.onnx_files.ort_errors", "hil.importers"),
    ("hil.config",),
    ("hil.onnx_files.batch_axes", "hil.onnx_files.rounding_error"),
    ("hil.callables", "hil.onnx_files.declared", "hil.onnx_files.identity", "hil.plan", "hil.state"),
    ("hil.datasets", "hil.metrics"),
    ("hil.onnx_files.host_sequence",),
    ("hil.onnx_files.reference",),
    ("hil.proposals", "hil.quantize"),
    ("hil.lint",),
    ("hil.targets",),
    ("hil.pools",),
    ("hil.checks", "hil.diagnose"),
    ("hil.compare_files",),
    ("hil.session",),
    ("hil.board",),
    ("hil.doctor",),
    ("hil.report",),
    ("hil.advice",),
    ("hil.history",),
    ("hil.compare",),
    ("hil.gate.rule_outcome",),
    ("hil.gate.demands",),
    ("hil.gate.rules",),
    ("hil.gate",),
    ("hil.attestation",),
    ("hil.gate.circumstances",),
    ("hil.deploy",),
    ("hil.cli",),
    ("hil.fixtures",),
    ("hil.suites",),
    ("hil.plugins",),
)
"""The levels, from the lowest. A package includes its modules, which may import each other; its neighbours may not."""

PURE = {
    "hil.text",
    "hil.dtypes",
    "hil.errors",
    "hil.units",
    "hil.results",
    "hil.stats",
    "hil.baseline",
    "hil.series",
    "hil.catalogue",
    "hil.onnx_files.precisions",
    "hil.onnx_files.signature",
    "hil.config.spec",
}
"""The modules that checks may import: a check gets data and returns a judgement."""

INPUT_OUTPUT = {
    *("asyncio", "glob", "http", "io", "mmap", "multiprocessing", "os", "pathlib", "shutil", "signal", "socket"),
    *("sqlite3", "subprocess", "sys", "tempfile", "threading", "time", "urllib"),
    *("onnx", "onnxruntime", "paramiko", "PIL", "psutil"),
}
RUNTIMES = {"onnxruntime", "tensorrt", "pycuda"}


@dataclass(frozen=True)
class Import:
    """One import of a module: ``name`` is absolute; ``top`` is true if it runs when the module is imported."""

    module: str
    name: str
    line: int
    top: bool

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.name}"


@cache
def modules() -> dict[str, Path]:
    """Return the path of each module of ``hil``, including those of ``LINKED``, by its import name."""
    paths = {}
    folders = [ROOT / "hil", *(ROOT / name.partition(".")[2] for name in LINKED)]
    for folder in folders:
        prefix = () if folder.name == "hil" else ("hil",)
        for path in folder.rglob("*.py"):
            parts = (*prefix, *path.relative_to(ROOT).with_suffix("").parts)
            paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return paths


@cache
def imports(module: str) -> tuple[Import, ...]:
    """Return the imports of ``module``, including those in functions and under TYPE_CHECKING."""
    path = modules()[module]
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    top = set(run_on_import(tree))
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    statements = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = names_from(node, package)
        else:
            continue
        statements += [Import(module, name, node.lineno, node in top) for name in names]
    return tuple(statements)


def names_from(node: ast.ImportFrom, package: str) -> list[str]:
    """Return the absolute names of ``from X import Y``: ``X.Y`` if that is a module, else ``X``."""
    base = node.module or ""
    if node.level:
        above = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*above, *([base] if base else [])])
    joined = (f"{base}.{alias.name}" for alias in node.names)
    return sorted({name if name in modules() else base for name in joined})


def run_on_import(tree: ast.Module) -> list[ast.AST]:
    """Return the nodes that run when the module is imported: not in functions, not under TYPE_CHECKING."""
    running: list[ast.AST] = []
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        running.append(node)
        waiting += ast.iter_child_nodes(node)
    return running


def home(module: str) -> str | None:
    """Return the entry of FLOORS that ``module`` belongs to; the entry ``hil`` is only ``hil/__init__.py``."""
    entries = [entry for floor in FLOORS for entry in floor]
    fitting = [e for e in entries if module == e or (e != "hil" and module.startswith(e + "."))]
    return max(fitting, key=len, default=None)


def floor_of(entry: str) -> int:
    """Return the level of ``entry``, from 0."""
    return next(height for height, floor in enumerate(FLOORS) if entry in floor)


def of_hil(module: str) -> list[Import]:
    """Return the imports of ``module`` within ``hil``, without those of its own entry of ``FLOORS``."""
    own = home(module)
    return [each for each in imports(module) if each.name.split(".")[0] == "hil" and home(each.name) != own]


def outside(module: str) -> set[str]:
    """Return the top-level packages that ``module`` imports, without ``hil``."""
    return {each.name.split(".")[0] for each in imports(module)} - {"hil"}


def below(prefix: str) -> list[str]:
    """Return the modules of the entry ``prefix``."""
    members = sorted(module for module in modules() if home(module) == prefix)
    assert members, prefix
    return members


def test_every_module_has_a_floor() -> None:
    """Each module has an entry in FLOORS, so that the level of a new module is decided explicitly."""
    assert not [module for module in sorted(modules()) if home(module) is None]


def test_every_floor_has_modules() -> None:
    """FLOORS has no entry without modules."""
    assert not [entry for floor in FLOORS for entry in floor if not below(entry)]


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_go_down(module: str) -> None:
    """A module imports only from levels below its own."""
    own = home(module)
    assert own is not None
    wrong = [each for each in of_hil(module) if (entry := home(each.name)) is None or floor_of(entry) >= floor_of(own)]
    assert not wrong, "; ".join(map(str, wrong))


@pytest.mark.parametrize("package", LINKED)
def test_linked_packages_are_imported_by_their_installed_name(package: str) -> None:
    """No module imports a top-level folder such as ``fixtures``, except by its installed name ``hil.fixtures``."""
    name = package.partition(".")[2]
    assert not [str(each) for module in modules() for each in imports(module) if each.name.split(".")[0] == name]


def test_library_imports_no_linked_package() -> None:
    """``hil`` works without pytest: outside of ``LINKED``, no module imports pytest or one of these packages."""
    library = [module for module in modules() if home(module) not in LINKED]
    wrong = [str(each) for module in library for each in imports(module) if each.name.startswith((*LINKED, "pytest"))]
    assert not wrong


def test_suites_use_only_fixtures() -> None:
    """A stock suite imports only pytest and the fixtures, like a user's own tests."""
    for module in below("hil.suites"):
        assert not [str(each) for each in of_hil(module) if home(each.name) != "hil.fixtures"]
        assert outside(module) <= {"__future__", "typing", "pytest"}


def test_agent_imports_nothing_else_of_hil() -> None:
    """The agent imports only its own modules, the standard library, numpy and a runtime: boards have nothing else."""
    allowed = set(sys.stdlib_module_names) | {"numpy"} | RUNTIMES
    for module in below("hil.agent"):
        assert not of_hil(module)
        assert outside(module) <= allowed, module


def test_agent_imports_itself_relatively() -> None:
    """The agent imports its modules relatively, since its package has another name on a board."""
    for module in below("hil.agent"):
        tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
        named = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
        named += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        assert not [name for name in named if name.split(".")[0] == "hil"], module


def test_only_a_runtime_imports_a_runtime() -> None:
    """Within the agent, only ``agent/runtimes`` imports ONNX Runtime, TensorRT and CUDA."""
    for module in below("hil.agent"):
        assert module.startswith("hil.agent.runtimes.") or not outside(module) & RUNTIMES, module


def test_checks_do_no_input_output() -> None:
    """A check is a pure function without input or output, so that a saved report can be judged anywhere."""
    for module in below("hil.checks"):
        assert not outside(module) & INPUT_OUTPUT, module
        assert not [str(each) for each in of_hil(module) if not {each.name, home(each.name)} & PURE]
        calls = ast.walk(ast.parse(modules()[module].read_text(encoding="utf-8")))
        assert not [node.lineno for node in calls if isinstance(node, ast.Name) and node.id in {"open", "print"}], (
            module
        )


@cache
def cycles() -> tuple[tuple[str, ...], ...]:
    """Return the import cycles, including imports in functions and for type checkers (Tarjan's algorithm)."""
    graph = {module: {e.name for e in imports(module) if e.name in modules()} - {module} for module in modules()}
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_: list[str] = []
    components: list[tuple[str, ...]] = []

    def visit(module: str) -> None:
        number[module] = lowest[module] = len(number)
        open_.append(module)
        for other in sorted(graph[module]):
            if other not in number:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in open_:
                lowest[module] = min(lowest[module], number[other])
        if lowest[module] == number[module]:
            start = open_.index(module)
            component = tuple(sorted(open_[start:]))
            del open_[start:]
            if len(component) > 1:
                components.append(component)

    for module in sorted(graph):
        if module not in number:
            visit(module)
    return tuple(components)


def test_no_modules_import_each_other() -> None:
    """There is no import cycle, not even one for the type checker alone."""
    assert not cycles()
