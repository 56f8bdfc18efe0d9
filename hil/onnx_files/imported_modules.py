"""Find the project's own Python files that a module depends on: its own file and, recursively, the modules it imports.

Imports are read from the source, and nothing is executed. Imports by computed names, and files other than modules, are
missed.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from importlib.machinery import BYTECODE_SUFFIXES, EXTENSION_SUFFIXES, SOURCE_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING

from hil.errors import UserError
from hil.files.digests import file_digest
from hil.series import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from importlib.machinery import ModuleSpec

SUFFIXES = (*EXTENSION_SUFFIXES, *SOURCE_SUFFIXES, *BYTECODE_SUFFIXES)
"""Suffixes of a module's file, in the order in which Python searches for them."""

INSTALLED = frozenset({"site-packages", "dist-packages"})
IMPORTERS = frozenset({"import_module", "__import__"})


@dataclass(frozen=True)
class Module:
    """A module's file at ``path``.

    ``name`` is the path relative to the project's folder (POSIX), or the dotted name of a module outside the project.
    """

    name: str
    path: Path


@dataclass(frozen=True)
class _Place:
    """What a dotted name refers to: the ``file`` that an import executes, and the ``folders`` of its submodules.

    ``file`` is ``None`` for a namespace package and for an unknown name.
    """

    file: Path | None
    folders: tuple[Path, ...] = ()


def modules_of(name: str, root: Path, model: str) -> tuple[Module, ...]:
    """Return the files of the module ``name`` (dotted) and of every project module that it imports, sorted by name.

    Project modules are below ``root``, the folder of ``hil.toml``. If the module ``name`` is elsewhere and not
    installed, those in its folder are project modules too. Installed modules that ``name`` imports are left out. The
    result is empty if ``name`` has no file. Raise ``UserError``, naming ``model``, for a file that is not valid Python.
    """
    finder = _Finder(root, name)
    waiting, visited = [name], {name}
    files: dict[Path, str] = {}
    while waiting:
        for dotted, place in finder.chain(waiting.pop()):
            if place.file is None or place.file in files:
                continue
            files[place.file] = finder.name(place.file) or dotted
            if place.file.suffix not in SOURCE_SUFFIXES or not finder.name(place.file):
                continue
            package = dotted if place.file.stem == "__init__" else dotted.rpartition(".")[0]
            imported = set(_imports(_parse(place.file, model), package, finder)) - visited
            visited |= imported
            waiting += imported
    modules = (Module(text, path) for path, text in files.items())
    return tuple(sorted(modules, key=lambda module: (module.name, module.path)))


def digest_of_modules(modules: Iterable[Module]) -> str:
    """Return the SHA-256 over the names and contents of ``modules``; an empty string without modules."""
    digests = [[module.name, file_digest(module.path, "restore it")] for module in modules]
    return digest_of({"modules": digests}) if digests else ""


class _Finder:
    """Resolves import names as Python does, without importing, and decides which files are the project's own."""

    def __init__(self, root: Path, entry: str) -> None:
        self._bases = list(dict.fromkeys((root, root.resolve())))
        self._entry = entry.partition(".")[0]
        place = self._top(self._entry)
        paths = (*place.folders, *filter(None, [place.file]))
        if paths and not self.name(paths[0]) and self._entry not in sys.stdlib_module_names:
            self._bases += [paths[0].parent] if not INSTALLED & set(paths[0].parts) else []

    def name(self, path: Path) -> str:
        """Return ``path`` relative to the project (POSIX); an empty string if the file is not the project's own."""
        inner = next((path.relative_to(base) for base in self._bases if path.is_relative_to(base)), None)
        return "" if inner is None or INSTALLED & set(inner.parts) else inner.as_posix()

    def chain(self, dotted: str) -> Iterator[tuple[str, _Place]]:
        """Yield the dotted name and the place of each parent package of ``dotted``, and then of ``dotted`` itself."""
        first, *rest = dotted.split(".")
        place = self._top(first)
        yield first, place
        for number, part in enumerate(rest, 1):
            place = _within(place.folders, part)
            yield ".".join([first, *rest[:number]]), place

    def submodules(self, dotted: str) -> Iterator[str]:
        """Yield the dotted names of the modules directly in the package ``dotted``."""
        *_, (_, place) = self.chain(dotted)
        names = {file.name.partition(".")[0] for folder in place.folders for file in folder.iterdir()}
        return (f"{dotted}.{name}" for name in sorted(names) if name.isidentifier())

    def _top(self, name: str) -> _Place:
        """Return the place of a top-level name: in the project's folders, otherwise where Python finds it.

        Outside the project, only the module that ``modules_of`` was called for has a place.
        """
        place = _within(self._bases, name)
        if place.file is not None or place.folders or (name in sys.stdlib_module_names and name != self._entry):
            return place
        spec = _installed(name)
        if spec is None:
            return place
        file = Path(spec.origin) if spec.has_location and spec.origin else None
        folders = tuple(map(Path, spec.submodule_search_locations or ()))
        if name == self._entry:
            return _Place(file, folders)
        return _Place(file if file and self.name(file) else None, tuple(filter(self.name, folders)))


def _installed(name: str) -> ModuleSpec | None:
    """Return the spec that Python would import as ``name``, without using ``sys.modules``."""
    finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path)
    specs = (find(name, None) for find in finders if find is not None)
    return next((spec for spec in specs if spec is not None), None)


def _within(folders: Sequence[Path], name: str) -> _Place:
    spaces = []
    for folder in folders:
        inner = folder / name
        for stem, subfolders in ((inner / "__init__", (inner,)), (inner, ())):
            candidates = (stem.with_name(stem.name + suffix) for suffix in SUFFIXES)
            file = next((path for path in candidates if path.is_file()), None)
            if file is not None:
                return _Place(file, subfolders)
        if inner.is_dir():
            spaces.append(inner)
    return _Place(None, tuple(spaces))


def _parse(path: Path, model: str) -> ast.AST:
    try:
        return ast.parse(path.read_bytes(), str(path))
    except OSError as error:
        why = error.strerror or str(error)
    except SyntaxError as error:
        why = f"{error.msg}, line {error.lineno}"
    except (ValueError, RecursionError, MemoryError) as error:
        why = str(error) or type(error).__name__
    raise UserError(f"{path} cannot be read as Python ({why}): model {model}: correct it, or do not import it")


def _imports(tree: ast.AST, package: str, finder: _Finder) -> Iterator[str]:
    """Yield the dotted names that a module in ``package`` imports; for ``from X import Y`` both ``X`` and ``X.Y``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute("." * node.level + (node.module or ""), package)
            if not base:
                continue
            yield base
            for alias in node.names:
                yield from finder.submodules(base) if alias.name == "*" else (f"{base}.{alias.name}",)
        elif isinstance(node, ast.Call):
            yield from _dynamic(node, package)


def _dynamic(node: ast.Call, package: str) -> Iterator[str]:
    called = node.func
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    if name not in IMPORTERS:
        return
    names = [keyword.value for keyword in node.keywords if keyword.arg == "name"]
    packages = [keyword.value for keyword in node.keywords if keyword.arg == "package"]
    arguments = [*names, *node.args, *packages]
    texts = [arg.value for arg in arguments if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    if texts and isinstance(arguments[0], ast.Constant):
        dotted = _absolute(texts[0], texts[1] if len(texts) > 1 else package)
        if all(part.isidentifier() for part in dotted.split(".")):
            yield dotted


def _absolute(name: str, package: str) -> str:
    """Return the absolute name for ``name``, whose leading dots are relative to ``package``.

    Return an empty string if there are more dots than ``package`` has levels.
    """
    tail = name.lstrip(".")
    level = len(name) - len(tail)
    if not level:
        return tail
    parts = package.split(".") if package else []
    if level > len(parts):
        return ""
    return ".".join([*parts[: len(parts) - level + 1], *filter(None, [tail])])
