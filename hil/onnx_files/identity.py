"""A model's identity: the files and the code that it consists of, and one digest over all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from hil.config.data_sources import SourceKind, is_callable, source_kind
from hil.files.digests import file_digest
from hil.importers import isaac_ros
from hil.onnx_files.imported_modules import digest_of_modules, modules_of
from hil.results import Part
from hil.series import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from hil.config.load import Config
    from hil.config.spec import ModelSpec
    from hil.onnx_files.imported_modules import Module

ONNX = "onnx"
ENGINE = "engine"
EXTERNAL = "external-data"
PLUGIN = "plugin"
MODULE = "module"
"""Roles that other modules refer to; the other roles are keys of ``[models.NAME]``."""


@dataclass(frozen=True)
class PartFiles:
    """The files of a model's parts, by the role and the name of each part.

    ``files`` has the parts that are one file. ``code`` has the callables, each with its modules.
    """

    files: dict[tuple[str, str], Path] = field(default_factory=dict)
    code: dict[tuple[str, str], tuple[Module, ...]] = field(default_factory=dict)

    def paths(self) -> frozenset[Path]:
        """Return every file that a part consists of."""
        modules = (module for code in self.code.values() for module in code)
        return frozenset([*self.files.values(), *(module.path for module in modules)])

    def parts(self) -> tuple[Part, ...]:
        """Return the parts, sorted by role and name. Raise ``UserError`` for a file that cannot be read."""
        modules = {module.name: module.path for code in self.code.values() for module in code}
        files = {**self.files, **{(MODULE, name): path for name, path in modules.items()}}
        parts = [
            Part(role=role, name=name, digest=file_digest(path), size=path.stat().st_size)
            for (role, name), path in files.items()
        ]
        for (role, name), code in self.code.items():
            digest = digest_of_modules(code) or digest_of({"installed": name})
            size = sum(module.path.stat().st_size for module in code)
            parts.append(Part(role=role, name=name, digest=digest, size=size))
        return tuple(sorted(parts, key=lambda part: (part.role, part.name)))


def sources_of(config: Config, name: str, target: str) -> PartFiles:
    """Return the files of the parts of model ``name`` on ``target``.

    The parts are its ONNX files with their external data, the other files that it names except data, and its callables
    with the project's modules that they import. Raise ``UserError`` if an ONNX file or a module cannot be read.
    """
    spec = config.model(name, target)
    sources = PartFiles()
    for role, file in _named(spec):
        sources.files[role, file] = config.resolve(file)
    for onnx in (spec.path, *spec.deployed_files):
        sources.files.update(((EXTERNAL, location), path) for location, path in _external(config, onnx))
    for role, callable_name in _callables(spec, config.root):
        sources.code[role, callable_name] = modules_of(callable_name.partition(":")[0], config.root, name)
    return sources


def identity_of(parts: Iterable[Part]) -> str:
    """Return the SHA-256 over the roles, names and digests of all parts, independent of their order."""
    return digest_of({"parts": sorted([part.role, part.name, part.digest] for part in parts)})


def changes(before: Iterable[Part], now: Iterable[Part]) -> list[str]:
    """Return one line for each part that differs, such as ``module pre/scale.py was changed``; empty if none does."""
    old, new = ({(part.role, part.name): part.digest for part in parts} for parts in (before, now))
    lines = []
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            what = "was added" if key not in old else "is gone" if key not in new else "was changed"
            lines.append(f"{key[0]} {key[1]} {what}")
    return lines


def _named(spec: ModelSpec) -> Iterator[tuple[str, str]]:
    yield ONNX, spec.path
    yield from ((PLUGIN, plugin) for plugin in spec.build.plugins)
    if spec.isaac_ros is not None:
        yield "isaac_ros", isaac_ros.split(spec.isaac_ros)[0]
    yield from (("deployed", file) for file in spec.deployed_files)
    for role in (ENGINE, "reference"):
        file = getattr(spec, role)
        if file is not None:
            yield role, file


def _external(config: Config, file: str) -> Iterator[tuple[str, Path]]:
    from hil.onnx_files.external_data import external_files

    folder = PurePosixPath(file).parent
    yield from ((str(folder / data.location), data.path) for data in external_files(config.resolve(file)))


def _callables(spec: ModelSpec, root: Path) -> Iterator[tuple[str, str]]:
    calibration = None if spec.calibration is None else spec.calibration.data
    sources = {"data": spec.data, "training_data": spec.training_data, "calibration.data": calibration}
    for role, source in sources.items():
        if source is not None and source_kind(source, root) is SourceKind.CALLABLE:
            yield role, source
    decode = None if spec.detection is None else spec.detection.decode
    for role, name in {"preprocess": spec.preprocess, "task": spec.task, "detection.decode": decode}.items():
        if name is not None and is_callable(name):
            yield role, name
    for output in spec.outputs.values():
        if output.decode is not None and is_callable(output.decode):
            yield "outputs.decode", output.decode
