"""Which name of TensorRT's Python API is there in which release: ``tensorrt_api.json``, and how it is read."""

from __future__ import annotations

import importlib
import inspect
import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PATH = Path(__file__).with_name("tensorrt_api.json")
SEEN = Path(__file__).with_name("tensorrt_seen.json")
MODULE = "tensorrt"
VERSIONS = ("8.2", "8.4", "8.5", "8.6", "10.0", "10.3", "10.13.3", "10.16", "11.0", "11.1")
"""Releases whose bindings are public. 11.1 is the newest of them; 11.4.1, which JetPack 7.2.2 can take, is not."""
ALL = frozenset(VERSIONS)


PLUMBING = {"CURDIR", "find_lib", "try_load", "common_enter", "common_exit", "attr", "value", "lib"}
"""What the package's ``__init__.py`` leaves in the module without meaning to. ``value`` of an enum's members comes from
pybind11 alone and depends on its release, not TensorRT's: nobody's API either, ``int(member)`` is the same."""

Table = dict[str, dict[str, set[str]]]


@dataclass(frozen=True)
class Correction:
    """Names that the sources of a release have and that its module has not."""

    version: str
    owner: str
    names: frozenset[str] | None
    reason: str

    def holds(self, version: str, owner: str, name: str) -> bool:
        """Whether this is about the name."""
        return (version, owner) == (self.version, self.owner) and (self.names is None or name in self.names)


_LATER = "the branch is 8.6.1 and later; the module 8.6.0 was seen without it, so 8.6 stands for what all of them have"
CORRECTIONS = (
    Correction("8.6", "OnnxParser", frozenset({"flags", "set_flag", "get_flag", "clear_flag"}), _LATER),
    Correction("8.6", "OnnxParserFlag", None, _LATER),
    Correction("8.6", MODULE, frozenset({"OnnxParserFlag"}), _LATER),
)


def public(name: str) -> bool:
    """Whether the matrix keeps a name: dunders that only Python itself looks up are names nobody writes."""
    return name == "__version__" or not (name.startswith("_") or name in PLUMBING)


def spelled(versions: Iterable[str]) -> str:
    """``{"8.2", "8.4", "10.3"}`` as ``"8.2-8.4 10.3"``: runs of neighbours in ``VERSIONS``, ``"*"`` for all."""
    wanted = set(versions)
    if wanted == ALL:
        return "*"
    runs: list[list[str]] = []
    for before, version in zip(("", *VERSIONS), VERSIONS, strict=False):
        if version in wanted:
            if before not in wanted:
                runs.append([])
            runs[-1].append(version)
    return " ".join(run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def unspelled(text: str) -> frozenset[str]:
    """The releases that ``spelled`` wrote."""
    if text == "*":
        return ALL
    found: set[str] = set()
    for run in text.split():
        first, _, last = run.partition("-")
        found.update(VERSIONS[VERSIONS.index(first) : VERSIONS.index(last or first) + 1])
    return frozenset(found)


def _grouped(table: Table) -> dict[str, dict[str, str]]:
    """A table with the names that are there in the same releases in one line."""
    classes: dict[str, dict[str, str]] = {}
    for owner, names in sorted(table.items()):
        groups: dict[str, list[str]] = {}
        for name, versions in sorted(names.items()):
            groups.setdefault(spelled(versions), []).append(name)
        classes[owner] = {versions: " ".join(names) for versions, names in sorted(groups.items())}
    return classes


def write(path: Path, sources: Mapping[str, str], classes: Table, callbacks: Table) -> None:
    """Writes the matrix."""
    held = {
        "about": "names of TensorRT's Python API by class and release; written by tensorrt_names.py",
        "versions": list(VERSIONS),
        "sources": {"repository": "https://github.com/NVIDIA/TensorRT", **sources},
        "classes": _grouped(classes),
        "callbacks": _grouped(callbacks),
    }
    path.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")


def seen() -> tuple[str, dict[str, set[str]]]:
    """The version of the module that is installed here, and the names of its classes."""
    tensorrt = importlib.import_module(MODULE)
    found = {MODULE: {name for name, value in vars(tensorrt).items() if not inspect.ismodule(value)}}
    waiting: list[object] = [tensorrt]
    while waiting:
        for value in vars(waiting.pop()).values():
            if inspect.isclass(value) and value.__module__.startswith(MODULE) and value.__name__ not in found:
                found[value.__name__] = set(dir(value))
                waiting.append(value)
    return str(tensorrt.__version__), {owner: set(filter(public, names)) for owner, names in found.items()}


def write_seen(version: str, found: Mapping[str, set[str]]) -> None:
    """Writes what ``seen`` found, with where and how."""
    held = {
        "about": f"names of the module tensorrt {version}, from dir() of it and its classes under CPython "
        f"{platform.python_version()} on {platform.machine()}",
        "version": version,
        "classes": {owner: " ".join(sorted(names)) for owner, names in sorted(found.items())},
    }
    SEEN.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")


def read_seen() -> tuple[str, dict[str, set[str]]]:
    """What ``write_seen`` wrote."""
    held = json.loads(SEEN.read_text(encoding="utf-8"))
    return held["version"], {owner: set(names.split()) for owner, names in held["classes"].items()}


@dataclass(frozen=True)
class Matrix:
    """``classes[owner][name]`` is the releases in which that class has that name; ``MODULE`` is the module itself.

    ``callbacks`` has the same shape: what the bindings look up on an object that a user's subclass makes.
    """

    sources: Mapping[str, str]
    classes: Mapping[str, Mapping[str, frozenset[str]]]
    callbacks: Mapping[str, Mapping[str, frozenset[str]]]

    def there(self, owner: str) -> frozenset[str]:
        """The releases in which a class, or the module, has any name at all."""
        return frozenset[str]().union(*self.classes[owner].values())

    def names(self) -> frozenset[str]:
        """Every name of the module or of any class, in any release."""
        return frozenset(name for names in self.classes.values() for name in names)


def read(path: Path = PATH) -> Matrix:
    """The matrix as it was written."""
    held = json.loads(path.read_text(encoding="utf-8"))
    tables = [
        {
            owner: {name: unspelled(versions) for versions, names in groups.items() for name in names.split()}
            for owner, groups in held[part].items()
        }
        for part in ("classes", "callbacks")
    ]
    return Matrix(held["sources"], *tables)
