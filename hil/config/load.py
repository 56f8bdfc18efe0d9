"""``load(path)``: ``hil.toml`` -> ``Config``, or every mistake in it at once, each with file and line."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from hil.config import own_checks
from hil.config.checks import value_checks as sense
from hil.config.checks import value_ranges
from hil.config.checks.cross_checks import mistakes, unknown_targets
from hil.config.explain import Mistake, mistakes_of, written
from hil.config.isaac_ros_limits import applied
from hil.config.locate import Lines
from hil.config.merge import on_target
from hil.config.spec import ConfigSpec, GateSpec, ModelSpec, TargetSpec
from hil.config.toml_text import parse, read_text
from hil.errors import UserError, did_you_mean
from hil.text import joined

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hil.config.own_checks import OwnCheck

CPU = "cpu"
"""The target that is there without being written."""

LISTED = 50
"""Mistakes listed at most; a file with more is not one of ours."""


@dataclass(frozen=True)
class Config:
    """A config file that was read whole and found right.

    ``digest`` is the sha256 of the file's bytes in hexadecimal; ``warnings`` are lines about what is not
    wrong but probably not meant. ``own_checks`` are those of ``hil.checks.json`` beside it, and ``checks_digest`` is
    that file's sha256, ``None`` without one.
    """

    spec: ConfigSpec
    path: Path
    root: Path
    digest: str
    lines: Lines = field(repr=False, compare=False)
    warnings: tuple[str, ...] = ()
    elsewhere: Mapping[tuple[str | int, ...], str] = field(default_factory=dict, compare=False)
    own_checks: tuple[OwnCheck, ...] = ()
    checks_digest: str | None = None

    def where(self, *keys: str) -> str:
        """``hil.toml:41``: the line of the deepest of ``keys`` that is written, or the other file that gave it."""
        if keys in self.elsewhere:
            return self.elsewhere[keys]
        return f"{self.path.name}:{self.lines.of(keys)}"

    def target(self, name: str) -> TargetSpec:
        """The target called ``name``; ``cpu`` is always there. Raises ``UserError`` for an unknown one.

        Its files on this machine (``identity``, ``known_hosts``) are paths from wherever we run.
        """
        if name in self.spec.targets:
            spec = self.spec.targets[name]
            files = {key: getattr(spec, key) for key in ("identity", "known_hosts")}
            here = {key: str(self.resolve(str(Path(file).expanduser()))) for key, file in files.items() if file}
            return spec.model_copy(update=here) if here else spec
        if name == CPU:
            return TargetSpec()
        known = [*self.spec.targets, *({CPU} - set(self.spec.targets))]
        hint = did_you_mean(name, known)
        raise UserError(f"unknown target {name!r}: {self.where('targets')} has no [targets.{name}]{hint}")

    def model(self, name: str, target: str) -> ModelSpec:
        """A model as it is on ``target``: keys that ``on.TARGET`` gives win. Raises ``UserError`` if unknown."""
        if name not in self.spec.models:
            hint = did_you_mean(name, self.spec.models)
            raise UserError(f"unknown model {name!r}: {self.where('models')} has no [models.{name}]{hint}")
        return on_target(self.spec.models[name], target)

    def resolve(self, path: str) -> Path:
        """A path as written in the file, which is relative to the file's folder."""
        return self.root / path


def load(path: Path, *, own: bool = True) -> Config:
    """Reads and checks a config file, and the own checks beside it unless ``own`` is false; takes some 10 ms.

    Raises ``UserError`` whose message has one line a mistake: ``hil.toml:41: models.digits.limts: unknown
    key: did you mean 'limits'?``.
    """
    text, data = read_text(path)
    values = parse(text, path.name)
    root = path.absolute().parent
    lines = Lines(text)
    found = list(mistakes(values, root))
    spec = None
    try:
        spec = ConfigSpec.model_validate(values)
        found += sense.mistakes(spec)
        given = applied(spec, root)
        found += given.mistakes
    except ValidationError as error:
        found += mistakes_of(error.errors(include_url=False))
    if found or spec is None:
        raise UserError(*_listed(found, lines, path.name))
    doubts = [*unknown_targets(values), *sense.doubts(spec)]
    warnings = tuple(_line(one, lines, path.name) for one in doubts)
    checks, checks_digest = own_checks.read(own_checks.place(path), given.spec) if own else ((), None)
    digest = sha256(data).hexdigest()
    return Config(given.spec, path.absolute(), root, digest, lines, warnings, given.sources, checks, checks_digest)


def load_policy(path: Path) -> GateSpec:
    """``[gate]`` of a config file, or of a policy file, which holds nothing else. Raises ``UserError`` as ``load``."""
    text, _ = read_text(path)
    values = parse(text, path.name)
    if set(values) != {"gate"}:
        return load(path).spec.gate
    try:
        policy = GateSpec.model_validate(values["gate"])
        found = list(value_ranges.mistakes(policy, ("gate",)))
        if not found:
            return policy
    except ValidationError as error:
        details = error.errors(include_url=False)
        found = mistakes_of([{**detail, "loc": ("gate", *detail["loc"])} for detail in details])
    raise UserError(*_listed(found, Lines(text), path.name))


def _listed(found: Iterable[Mistake], lines: Lines, name: str) -> list[str]:
    ordered = sorted(dict.fromkeys(found), key=lambda one: lines.of(one.keys))
    more = [f"… and {len(ordered) - LISTED} more"] if len(ordered) > LISTED else []
    return [*(_line(one, lines, name) for one in ordered[:LISTED]), *more]


def _line(one: Mistake, lines: Lines, name: str) -> str:
    key = f" {written(one.keys)}:" if one.keys else ""
    return joined(f"{name}:{lines.of(one.keys)}:{key} {one.what}")
