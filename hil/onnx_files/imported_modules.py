"""The project's own Python files that a module consists of: its own and, by their imports, all that it imports.

Nothing is imported or executed: imports are read from the source, wherever they stand (in functions, under
``TYPE_CHECKING``, ``import_module("a.b")`` with a constant). What a module loads by a name that it computes or from a
folder that it adds to ``sys.path``, and files that are no modules, are not followed.
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
"""Endings of a module's file, in the order in which Python looks for them."""

INSTALLED = frozenset({"site-packages", "dist-packages"})
IMPORTERS = frozenset({"import_module", "__import__"})


@dataclass(frozen=True)
class Module:
    """A file of the project: ``name`` is its path relative to the project's folder (POSIX), ``path`` where it is."""

    name: str
    path: Path


@dataclass(frozen=True)
class _Place:
    """Where an import name leads: the file that is executed, if there is one, and the folders of its submodules."""

    file: Path | None
    folders: tuple[Path, ...] = ()


def modules_of(name: str, root: Path, model: str) -> tuple[Module, ...]:
    """Return the files of the module ``name`` (dotted) and of every module that it imports, sorted by name.

    Only the project's own: below ``root``, where ``hil.toml`` is, or beside the module if that lies elsewhere; never
    the standard library or installed packages, of which only the files of ``name`` itself count. Extension modules
    count and are not read. ``()`` where ``name`` has no file. Raise ``UserError``, naming ``model``, for a file that
    is not readable as Python.
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
            found = set(_imports(_parsed(place.file, model), package, finder)) - visited
            visited |= found
            waiting += found
    return tuple(sorted((Module(text, path) for path, text in files.items()), key=lambda one: (one.name, one.path)))


def digest_of_modules(modules: Iterable[Module]) -> str:
    """SHA-256 over the names and the content of ``modules``; empty for none of them."""
    found = [[one.name, file_digest(one.path, "restore it")] for one in modules]
    return digest_of({"modules": found}) if found else ""


class _Finder:
    """Resolves import names as Python does, without importing; knows which files are the project's own."""

    def __init__(self, root: Path, entry: str) -> None:
        self._bases = list(dict.fromkeys((root, root.resolve())))
        self._entry = entry.partition(".")[0]
        place = self._top(self._entry)
        found = (*place.folders, *filter(None, [place.file]))
        if found and not self.name(found[0]) and self._entry not in sys.stdlib_module_names:
            self._bases += [found[0].parent] if not INSTALLED & set(found[0].parts) else []

    def name(self, path: Path) -> str:
        """The path of a file or folder of the project within it (POSIX); empty for one of somebody else."""
        inner = next((path.relative_to(base) for base in self._bases if path.is_relative_to(base)), None)
        return "" if inner is None or INSTALLED & set(inner.parts) else inner.as_posix()

    def chain(self, dotted: str) -> Iterator[tuple[str, _Place]]:
        """Yield each package on the way to ``dotted``, and itself."""
        first, *rest = dotted.split(".")
        place = self._top(first)
        yield first, place
        for number, part in enumerate(rest, 1):
            place = _within(place.folders, part)
            yield ".".join([first, *rest[:number]]), place

    def submodules(self, dotted: str) -> Iterator[str]:
        """The modules directly in the package ``dotted``."""
        *_, (_, place) = self.chain(dotted)
        names = {file.name.partition(".")[0] for folder in place.folders for file in folder.iterdir()}
        return (f"{dotted}.{name}" for name in sorted(names) if name.isidentifier())

    def _top(self, name: str) -> _Place:
        """``name`` in the project's folders, else where Python finds it if that is the project's too, or the entry."""
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
    """What Python would import as ``name`` afresh: what is loaded already depends on who was first."""
    finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path)
    found = (find(name, None) for find in finders if find is not None)
    return next((spec for spec in found if spec is not None), None)


def _within(folders: Sequence[Path], name: str) -> _Place:
    spaces = []
    for folder in folders:
        inner = folder / name
        for beside, found in ((inner / "__init__", (inner,)), (inner, ())):
            file = next((one for suffix in SUFFIXES if (one := beside.with_name(beside.name + suffix)).is_file()), None)
            if file is not None:
                return _Place(file, found)
        if inner.is_dir():
            spaces.append(inner)
    return _Place(None, tuple(spaces))


def _parsed(path: Path, model: str) -> ast.AST:
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
    """The dotted names that a module in ``package`` imports; of ``from X import Y`` both ``X`` and ``X.Y``."""
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
    given = [*node.args, *(each.value for each in node.keywords if each.arg == "package")]
    named = [each.value for each in node.keywords if each.arg == "name"] + given
    texts = [one.value for one in named if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    if texts and isinstance(named[0], ast.Constant):
        found = _absolute(texts[0], texts[1] if len(texts) > 1 else package)
        if all(part.isidentifier() for part in found.split(".")):
            yield found


def _absolute(name: str, package: str) -> str:
    """``name``, with leading dots relative to ``package``; empty for one that leads out of it."""
    tail = name.lstrip(".")
    level = len(name) - len(tail)
    if not level:
        return tail
    parts = package.split(".") if package else []
    if level > len(parts):
        return ""
    return ".".join([*parts[: len(parts) - level + 1], *filter(None, [tail])])
