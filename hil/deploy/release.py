"""A release: every file that a robot gets, by digest, and the manifest that the release is named by."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from hil.agent.failure import Failure
from hil.agent.releases.manifest import NAME, SCHEMA, entries, parse
from hil.config.policy import matches
from hil.errors import DeployRefused, UserError
from hil.report.canonical import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hil.config.load import Config
    from hil.config.spec import DeploySpec
    from hil.report.schema import EngineUsed, ExternalData, Report
    from hil.results import Evidence

LARGEST = 64 << 20
"""Bytes of a robot's own config file, and of a report: they are read whole."""


@dataclass(frozen=True)
class Release:
    """``digest`` is the SHA-256 of the manifest, ``paths`` where each file of it lies on this machine."""

    digest: str
    manifest: bytes
    paths: Mapping[str, Path] = field(repr=False)

    @property
    def short(self) -> str:
        """As people are told it."""
        return self.digest[:12]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in entries(parse(self.manifest)))


def chosen(report: Report, patterns: Sequence[str], target: str) -> tuple[EngineUsed, ...]:
    """The judged engines that the robot is to get. Raises ``UserError`` for a pattern that names none."""
    for pattern in patterns:
        if not any(named(pattern, one.model, one.precision) for one in report.engines):
            there = ", ".join(f"{one.model} {one.precision}" for one in report.engines) or "none"
            raise UserError(
                f"the report has no engine like {pattern!r} (it has {there}): on target {target!r}: "
                f"correct engines in [targets.{target}.deploy]"
            )
    return tuple(one for one in report.engines if any(named(pattern, one.model, one.precision) for pattern in patterns))


def named(pattern: str, model: str, precision: str) -> bool:
    """Whether a pattern of ``engines`` (``model`` or ``model precision``) names this engine."""
    return matches(" ".join(["*", *pattern.split()]), "engine", model, precision)


def engine_files(folder: Path, engines: Iterable[EngineUsed]) -> dict[str, Path]:
    """The engines' copies below the report's ``folder`` and their external data, by their name in the report.

    What is not there is left out.

    Raises ``DeployRefused`` for a name that leads out of the folder.
    """
    found: dict[str, Path] = {}
    for name in [file for engine in engines for file, _ in engine.files]:
        path = folder / name
        if not name or not path.is_file():
            continue
        if not path.resolve().is_relative_to(folder.resolve()):
            raise DeployRefused(f"{name!r} in the report leads out of {folder}: refused: run the checks again")
        found[name] = path
    return found


def path_in_release(engine: EngineUsed) -> str:
    """Where an engine lies in a release: ``engines/digits-int8.plan``."""
    suffix = PurePosixPath(engine.file or "").suffix
    return f"engines/{engine.model}-{engine.precision}{suffix if suffix in {'.onnx', '.plan'} else '.engine'}"


def external_paths(engine: EngineUsed) -> dict[str, ExternalData]:
    """Where the external data of an engine lies in a release: beside it, under the name that it has for it."""
    return {f"engines/{one.digest}": one for one in engine.external}


def own_files(config: Config, spec: DeploySpec) -> dict[str, bytes]:
    """The robot's own config files, by their path in a release. Raises ``UserError`` for one that cannot be read."""
    found: dict[str, bytes] = {}
    for file in spec.config:
        place = config.resolve(file)
        try:
            with place.open("rb") as stream:
                content = stream.read(LARGEST + 1)
        except OSError as error:
            raise UserError(f"{file} cannot be read: {error.strerror}: correct config in hil.toml") from None
        if len(content) > LARGEST:
            raise UserError(f"{file} has more than {LARGEST >> 20} MiB, which is no config: name a smaller file")
        found[f"config/{place.name}"] = content
    return found


def about(
    *,
    robot: str,
    report: Report,
    evidence: Evidence,
    engines: Sequence[EngineUsed],
    identity: Mapping[str, Any],
) -> dict[str, Any]:
    """What the manifest says besides the files: which robot, report, board and engines, and of which models."""
    told = [
        {
            "model": one.model,
            "precision": one.precision,
            "path": path_in_release(one),
            "sha256": one.digest,
            "runtime": one.runtime,
            "runtime_version": one.runtime_version,
            "foreign": one.foreign,
            "external": [{"path": path, "sha256": data.digest} for path, data in external_paths(one).items()],
        }
        for one in engines
    ]
    names = {one.model for one in engines}
    models = [
        {"name": model.name, "identity": model.identity, "parts": [part.model_dump() for part in model.parts]}
        for model in report.models
        if model.name in names
    ]
    judged = {"report": report.digest, "run": report.run.id, "evidence": evidence.value}
    head = {"schema": SCHEMA, "robot": robot, "judged": judged, "board": dict(identity)}
    return {**head, "engines": told, "models": models}


def build(told: Mapping[str, Any], engines: Mapping[str, Path], contents: Mapping[str, bytes], folder: Path) -> Release:
    """The release of these files; ``contents`` and the manifest are written into ``folder``, which is empty.

    ``engines`` are files by their path in the release, hashed before by whoever judged them. The same files and the
    same ``told`` give the same release. Raises ``DeployRefused`` for a path that no release may have.
    """
    digests = {
        one["path"]: one["sha256"] for engine in told["engines"] for one in (engine, *engine.get("external", ()))
    }
    listed = [{"path": path, "sha256": digests[path], "size": place.stat().st_size} for path, place in engines.items()]
    paths = dict(engines)
    for path, content in contents.items():
        digest = hashlib.sha256(content).hexdigest()
        paths[path] = folder / digest
        paths[path].write_bytes(content)
        listed.append({"path": path, "sha256": digest, "size": len(content)})
    manifest = canonical({**told, "files": sorted(listed, key=lambda one: str(one["path"]))})
    try:
        entries(parse(manifest))
    except Failure as problem:
        raise DeployRefused(f"{problem.message}: rename what has that name") from None
    paths[NAME] = folder / NAME
    paths[NAME].write_bytes(manifest)
    return Release(hashlib.sha256(manifest).hexdigest(), manifest, paths)


def in_image(manifest: Mapping[str, Any]) -> str:
    """The digest of the same release as its image has it: the image's id cannot stand in what the image is made of."""
    return hashlib.sha256(canonical({key: one for key, one in manifest.items() if key != "image"})).hexdigest()


def table(release: Release) -> dict[str, Any]:
    """The manifest as plain values."""
    found: dict[str, Any] = json.loads(release.manifest)
    return found
