"""A release: the files that a robot gets, and a manifest with their digests; the manifest's digest is its name."""

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
"""The largest config file of a robot in bytes: config files are read into memory."""


@dataclass(frozen=True)
class Release:
    """A release on this machine.

    ``digest`` is the SHA-256 of the manifest; ``paths`` maps each path in the release to a local file.
    """

    digest: str
    manifest: bytes
    paths: Mapping[str, Path] = field(repr=False)

    @property
    def short(self) -> str:
        """The digest's beginning, as messages show it."""
        return self.digest[:12]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size for entry in entries(parse(self.manifest)))


def chosen(report: Report, patterns: Sequence[str], target: str) -> tuple[EngineUsed, ...]:
    """Return the report's engines that one of ``patterns`` matches. Raises ``UserError`` if a pattern matches none."""
    for pattern in patterns:
        if not any(named(pattern, engine.model, engine.precision) for engine in report.engines):
            available = ", ".join(f"{engine.model} {engine.precision}" for engine in report.engines) or "none"
            raise UserError(
                f"the report has no engine that matches {pattern!r} (it has {available}): on target {target!r}: "
                f"correct engines in [targets.{target}.deploy]"
            )
    return tuple(
        engine
        for engine in report.engines
        if any(named(pattern, engine.model, engine.precision) for pattern in patterns)
    )


def named(pattern: str, model: str, precision: str) -> bool:
    """Return whether a pattern of the key ``engines`` (``model`` or ``model precision``) matches this engine."""
    return matches(" ".join(["*", *pattern.split()]), "engine", model, precision)


def engine_files(folder: Path, engines: Iterable[EngineUsed]) -> dict[str, Path]:
    """Return the files of the engines and of their external data, by their name in the report; leave out missing ones.

    The names are relative to ``folder``, the report's folder. Raises ``DeployRefused`` if a name leads out of it.
    """
    files: dict[str, Path] = {}
    for name in [file for engine in engines for file, _ in engine.files]:
        path = folder / name
        if not name or not path.is_file():
            continue
        if not path.resolve().is_relative_to(folder.resolve()):
            raise DeployRefused(f"{name!r} in the report is outside of {folder}: run the checks again")
        files[name] = path
    return files


def path_in_release(engine: EngineUsed) -> str:
    """Return the path of an engine in a release, e.g. ``engines/digits-int8.plan``."""
    suffix = PurePosixPath(engine.file or "").suffix
    return f"engines/{engine.model}-{engine.precision}{suffix if suffix in {'.onnx', '.plan'} else '.engine'}"


def external_paths(engine: EngineUsed) -> dict[str, ExternalData]:
    """Return the external data of an engine by its path in a release: next to the engine, named by its digest."""
    return {f"engines/{data.digest}": data for data in engine.external}


def own_files(config: Config, robot: str, spec: DeploySpec) -> dict[str, bytes]:
    """Return the content of the config files of ``robot`` by their path in a release.

    Raises ``UserError`` if one cannot be read or is larger than ``LARGEST``.
    """
    contents: dict[str, bytes] = {}
    for file in spec.config:
        path = config.resolve(file)
        try:
            with path.open("rb") as stream:
                content = stream.read(LARGEST + 1)
        except OSError as error:
            raise UserError(
                f"{file} cannot be read: {error.strerror}: correct the key 'config' in [targets.{robot}.deploy]"
            ) from None
        if len(content) > LARGEST:
            raise UserError(f"{file} has more than {LARGEST >> 20} MiB, too many for a config: choose a smaller file")
        contents[f"config/{path.name}"] = content
    return contents


def about(
    *,
    robot: str,
    report: Report,
    evidence: Evidence,
    engines: Sequence[EngineUsed],
    identity: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the manifest without its list of files: robot, report, board (``identity``), engines and their models."""
    engine_entries = [
        {
            "model": engine.model,
            "precision": engine.precision,
            "path": path_in_release(engine),
            "sha256": engine.digest,
            "runtime": engine.runtime,
            "runtime_version": engine.runtime_version,
            "foreign": engine.foreign,
            "external": [{"path": path, "sha256": data.digest} for path, data in external_paths(engine).items()],
        }
        for engine in engines
    ]
    names = {engine.model for engine in engines}
    models = [
        {"name": model.name, "identity": model.identity, "parts": [part.model_dump() for part in model.parts]}
        for model in report.models
        if model.name in names
    ]
    judged = {"report": report.digest, "run": report.run.id, "evidence": evidence.value}
    head = {"schema": SCHEMA, "robot": robot, "judged": judged, "board": dict(identity)}
    return {**head, "engines": engine_entries, "models": models}


def build(
    about: Mapping[str, Any], engines: Mapping[str, Path], contents: Mapping[str, bytes], folder: Path
) -> Release:
    """Return the release of these files; write ``contents`` and the manifest into the empty ``folder``.

    ``engines`` maps paths in the release to files; ``about`` has their digests. Equal arguments give the same release.
    Raises ``DeployRefused`` for a path that a release may not have.
    """
    digests = {
        file["path"]: file["sha256"] for engine in about["engines"] for file in (engine, *engine.get("external", ()))
    }
    listed = [{"path": path, "sha256": digests[path], "size": place.stat().st_size} for path, place in engines.items()]
    paths = dict(engines)
    for path, content in contents.items():
        digest = hashlib.sha256(content).hexdigest()
        paths[path] = folder / digest
        paths[path].write_bytes(content)
        listed.append({"path": path, "sha256": digest, "size": len(content)})
    manifest = canonical({**about, "files": sorted(listed, key=lambda entry: str(entry["path"]))})
    try:
        entries(parse(manifest))
    except Failure as problem:
        raise DeployRefused(f"{problem.message}: rename the model or file with that name") from None
    paths[NAME] = folder / NAME
    paths[NAME].write_bytes(manifest)
    return Release(hashlib.sha256(manifest).hexdigest(), manifest, paths)


def in_image(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the manifest without ``image``, as the image itself contains it."""
    return hashlib.sha256(canonical({key: value for key, value in manifest.items() if key != "image"})).hexdigest()


def table(release: Release) -> dict[str, Any]:
    """Return the release's manifest, parsed from JSON."""
    manifest: dict[str, Any] = json.loads(release.manifest)
    return manifest
