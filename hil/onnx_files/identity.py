"""What a model consists of, by files and code, and one digest of all of it: its identity.

Of ``hil.toml`` the names of these files and callables belong to it. What it sets besides is in the keys and methods of
what it changes: build options in an engine's, batch and samples in a check's; limits and tolerances are the policy.
Data are told apart by the digest of their samples.
"""

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
"""Roles that others ask for; the rest are the keys of ``[models.NAME]``."""


@dataclass(frozen=True)
class PartFiles:
    """Where a model's parts are: ``files`` by role and name, ``code`` the modules of each callable by role and name."""

    files: dict[tuple[str, str], Path] = field(default_factory=dict)
    code: dict[tuple[str, str], tuple[Module, ...]] = field(default_factory=dict)

    def paths(self) -> frozenset[Path]:
        """Every file that a part is made from."""
        return frozenset([*self.files.values(), *(one.path for modules in self.code.values() for one in modules)])

    def parts(self) -> tuple[Part, ...]:
        """The parts, sorted by role and name; files are read in pieces. Raise ``UserError`` for one that cannot be."""
        modules = {one.name: one.path for found in self.code.values() for one in found}
        files = {**self.files, **{(MODULE, name): path for name, path in modules.items()}}
        found = [
            Part(role=role, name=name, digest=file_digest(path), size=path.stat().st_size)
            for (role, name), path in files.items()
        ]
        for (role, name), code in self.code.items():
            digest = digest_of_modules(code) or digest_of({"installed": name})
            found.append(Part(role=role, name=name, digest=digest, size=sum(one.path.stat().st_size for one in code)))
        return tuple(sorted(found, key=lambda part: (part.role, part.name)))


def sources_of(config: Config, name: str, target: str) -> PartFiles:
    """Return where the parts of the model ``name`` are, as it is on ``target``.

    Its ONNX files with their external data, an engine built elsewhere, plugins, saved reference outputs, and its
    callables with the project's own modules that these import. Raise ``UserError`` for an ONNX file or a module that
    cannot be read.
    """
    spec = config.model(name, target)
    found = PartFiles()
    for role, file in _named(spec):
        found.files[role, file] = config.resolve(file)
    for onnx in (spec.path, spec.deployed):
        found.files.update(((EXTERNAL, location), path) for location, path in _external(config, onnx))
    for role, callable_name in _callables(spec, config.root):
        found.code[role, callable_name] = modules_of(callable_name.partition(":")[0], config.root, name)
    return found


def identity_of(parts: Iterable[Part]) -> str:
    """The SHA-256 over all parts, whatever their order: roles, names and digests."""
    return digest_of({"parts": sorted([part.role, part.name, part.digest] for part in parts)})


def changes(before: Iterable[Part], now: Iterable[Part]) -> list[str]:
    """What differs between two models' parts: ``module pre/scale.py is not what it was``, one entry a part."""
    ours, theirs = ({(part.role, part.name): part.digest for part in parts} for parts in (before, now))
    told = []
    for key in sorted({*ours, *theirs}):
        if ours.get(key) != theirs.get(key):
            what = "was added" if key not in ours else "is gone" if key not in theirs else "was changed"
            told.append(f"{key[0]} {key[1]} {what}")
    return told


def _named(spec: ModelSpec) -> Iterator[tuple[str, str]]:
    yield ONNX, spec.path
    yield from ((PLUGIN, plugin) for plugin in spec.build.plugins)
    if spec.isaac_ros is not None:
        yield "isaac_ros", isaac_ros.split(spec.isaac_ros)[0]
    for role in ("deployed", ENGINE, "reference"):
        file = getattr(spec, role)
        if file is not None:
            yield role, file


def _external(config: Config, file: str | None) -> Iterator[tuple[str, Path]]:
    from hil.onnx_files.external_data import external_files

    if file is not None:
        folder = PurePosixPath(file).parent
        yield from ((str(folder / one.location), one.path) for one in external_files(config.resolve(file)))


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
