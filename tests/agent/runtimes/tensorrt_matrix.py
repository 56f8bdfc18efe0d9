"""Which names of TensorRT's Python API exist in which release: ``tensorrt_api.json`` and functions to read it."""

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
INSTALLED = Path(__file__).with_name("tensorrt_seen.json")
WHEELS = Path(__file__).with_name("tensorrt_wheels.json")
MODULE = "tensorrt"
BRANCHES = ("8.2", "8.4", "8.5", "8.6", "10.0", "10.3", "10.13.3", "10.16", "11.0", "11.1")
"""Releases whose bindings have public sources; 11.1 is the newest."""
MODULES = {"11.4": "tensorrt_bindings", "rtx1.7": "tensorrt_rtx_bindings"}
"""Releases published only as wheels, with the names of their modules: TensorRT 11.4.0 and TensorRT-RTX 1.7.1."""
VERSIONS = (*BRANCHES, *MODULES)
ALL = frozenset(VERSIONS)


PLUMBING = {"CURDIR", "find_lib", "try_load", "common_enter", "common_exit", "attr", "value", "lib"}
"""Internal names that the package's ``__init__.py`` leaves in the module.

``value`` of an enum member comes from pybind11 and depends on its release, not on TensorRT's; use ``int(member)``.
"""

Table = dict[str, dict[str, set[str]]]


@dataclass(frozen=True)
class Correction:
    """Names that the sources of a release have and its module lacks; ``names=None`` is every name of ``owner``."""

    version: str
    owner: str
    names: frozenset[str] | None
    reason: str

    def holds(self, version: str, owner: str, name: str) -> bool:
        """Return whether this correction is about the name."""
        return (version, owner) == (self.version, self.owner) and (self.names is None or name in self.names)


_LATER = "the branch is 8.6.1 and later, and the module 8.6.0 lacks it; 8.6 here means the names that all of them have"
CORRECTIONS = (
    Correction("8.6", "OnnxParser", frozenset({"flags", "set_flag", "get_flag", "clear_flag"}), _LATER),
    Correction("8.6", "OnnxParserFlag", None, _LATER),
    Correction("8.6", MODULE, frozenset({"OnnxParserFlag"}), _LATER),
)


def public(name: str) -> bool:
    """Return whether the matrix contains a name: private names and dunders other than ``__version__`` are left out."""
    return name == "__version__" or not (name.startswith("_") or name in PLUMBING)


def spelled(versions: Iterable[str]) -> str:
    """Return ``{"8.2", "8.4", "10.3"}`` as ``"8.2-8.4 10.3"``: ranges within ``VERSIONS``, ``"*"`` for all."""
    chosen = set(versions)
    if chosen == ALL:
        return "*"
    runs: list[list[str]] = []
    for before, version in zip(("", *VERSIONS), VERSIONS, strict=False):
        if version in chosen:
            if before not in chosen:
                runs.append([])
            runs[-1].append(version)
    return " ".join(run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def unspelled(text: str) -> frozenset[str]:
    """Return the releases that ``text``, a result of ``spelled``, stands for."""
    if text == "*":
        return ALL
    releases: set[str] = set()
    for run in text.split():
        first, _, last = run.partition("-")
        releases.update(VERSIONS[VERSIONS.index(first) : VERSIONS.index(last or first) + 1])
    return frozenset(releases)


def _grouped(table: Table) -> dict[str, dict[str, str]]:
    """Return, by owner, the names of each set of releases as one text, in the form of the JSON file."""
    classes: dict[str, dict[str, str]] = {}
    for owner, names in sorted(table.items()):
        groups: dict[str, list[str]] = {}
        for name, versions in sorted(names.items()):
            groups.setdefault(spelled(versions), []).append(name)
        classes[owner] = {versions: " ".join(names) for versions, names in sorted(groups.items())}
    return classes


def write(path: Path, sources: Mapping[str, str], classes: Table, callbacks: Table) -> None:
    """Write the matrix to ``path`` as JSON."""
    document = {
        "about": "names of TensorRT's Python API by class and release; written by tensorrt_names.py",
        "versions": list(VERSIONS),
        "sources": {"repository": "https://github.com/NVIDIA/TensorRT", **sources},
        "classes": _grouped(classes),
        "callbacks": _grouped(callbacks),
    }
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def installed_names(module: str = MODULE) -> tuple[str, dict[str, set[str]]]:
    """Return the version of an installed module, and the public names in it and in each of its classes, by class."""
    tensorrt = importlib.import_module(module)
    names_by_class = {MODULE: {name for name, value in vars(tensorrt).items() if not inspect.ismodule(value)}}
    waiting: list[object] = [tensorrt]
    while waiting:
        for value in vars(waiting.pop()).values():
            if inspect.isclass(value) and value.__module__.startswith(MODULE) and value.__name__ not in names_by_class:
                names_by_class[value.__name__] = set(dir(value))
                waiting.append(value)
    return str(tensorrt.__version__), {owner: set(filter(public, names)) for owner, names in names_by_class.items()}


def write_installed(version: str, names_by_class: Mapping[str, set[str]]) -> None:
    """Write the result of ``installed_names``, with where and how it was obtained."""
    document = {
        "about": f"names of the module tensorrt {version}, from dir() of it and its classes under CPython "
        f"{platform.python_version()} on {platform.machine()}",
        "version": version,
        "classes": {owner: " ".join(sorted(names)) for owner, names in sorted(names_by_class.items())},
    }
    INSTALLED.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def write_wheel(version: str, module: str) -> None:
    """Add the names of an installed module as those of the release ``version``."""
    wheels = json.loads(WHEELS.read_text(encoding="utf-8")) if WHEELS.exists() else {}
    exact, names_by_class = installed_names(module)
    wheels[version] = {
        "about": f"names of the module {module} {exact}, from dir() of it and its classes",
        "source": f"{module} {exact}",
        "classes": {owner: " ".join(sorted(names)) for owner, names in sorted(names_by_class.items())},
    }
    WHEELS.write_text(json.dumps(wheels, indent=1) + "\n", encoding="utf-8")


def read_wheel(version: str) -> tuple[str, dict[str, set[str]]]:
    """Return the source that ``write_wheel`` wrote for a release, and its names."""
    document = json.loads(WHEELS.read_text(encoding="utf-8"))[version]
    return document["source"], {owner: set(names.split()) for owner, names in document["classes"].items()}


def read_installed() -> tuple[str, dict[str, set[str]]]:
    """Return what ``write_installed`` wrote."""
    document = json.loads(INSTALLED.read_text(encoding="utf-8"))
    return document["version"], {owner: set(names.split()) for owner, names in document["classes"].items()}


@dataclass(frozen=True)
class Matrix:
    """``classes[owner][name]`` is the releases in which that class has that name; ``MODULE`` is the module itself.

    ``callbacks`` has the same structure, for methods that the bindings call on objects of a user's subclass.
    """

    sources: Mapping[str, str]
    classes: Mapping[str, Mapping[str, frozenset[str]]]
    callbacks: Mapping[str, Mapping[str, frozenset[str]]]

    def there(self, owner: str) -> frozenset[str]:
        """Return the releases in which the class ``owner``, or the module, has at least one name."""
        return frozenset[str]().union(*self.classes[owner].values())

    def names(self) -> frozenset[str]:
        """Return every name of the module or of any class, in any release."""
        return frozenset(name for names in self.classes.values() for name in names)


def read(path: Path = PATH) -> Matrix:
    """Return the matrix from its file."""
    document = json.loads(path.read_text(encoding="utf-8"))
    tables = [
        {
            owner: {name: unspelled(versions) for versions, names in groups.items() for name in names.split()}
            for owner, groups in document[part].items()
        }
        for part in ("classes", "callbacks")
    ]
    return Matrix(document["sources"], *tables)
