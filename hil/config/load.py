"""Load ``hil.toml`` as a ``Config``, or raise one error that lists the mistakes with file and line."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from hil.config import own_checks, pools
from hil.config.checks import guess_checks, pool_checks, value_ranges
from hil.config.checks import value_checks as sense
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
"""The target that exists without a table in ``hil.toml``."""

LISTED = 50
"""The maximum number of mistakes in one message."""


@dataclass(frozen=True)
class Config:
    """A valid config file.

    Attributes:
        spec: its values.
        path: the file.
        root: the folder that relative paths in it start at.
        digest: SHA-256 of the file's bytes in hexadecimal.
        lines: the line of each key.
        warnings: values that are valid but probably unintended.
        elsewhere: the place of each limit that comes from another file, by its path of keys.
        own_checks: the checks listed in ``hil.checks.json`` next to the file; empty without such a list.
        checks_digest: SHA-256 of that list; ``None`` without one.
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
        """Return the file and line of a key, such as ``hil.toml:41``; for a limit in ``elsewhere``, its place there.

        For a key that is not in the file, the line is that of the nearest table above.
        """
        if keys in self.elsewhere:
            return self.elsewhere[keys]
        return f"{self.path.name}:{self.lines.of(keys)}"

    def target(self, name: str) -> TargetSpec:
        """Return the target ``name``. Raise ``UserError`` if it is unknown; ``cpu`` always exists.

        The files of this machine that it names (``identity``, ``known_hosts``) are resolved to absolute paths. For a
        pool, return what its members have in common.
        """
        if name in self.spec.targets:
            spec = self.spec.targets[name]
            if spec.kind == "pool":
                return pools.common(spec, self.target(spec.members[0]))
            files = {key: getattr(spec, key) for key in ("identity", "known_hosts")}
            resolved = {key: str(self.resolve(str(Path(file).expanduser()))) for key, file in files.items() if file}
            return spec.model_copy(update=resolved) if resolved else spec
        if name == CPU:
            return TargetSpec()
        known = [*self.spec.targets, *({CPU} - set(self.spec.targets))]
        hint = did_you_mean(name, known)
        raise UserError(f"unknown target {name!r}: {self.where('targets')} has no [targets.{name}]{hint}")

    def model(self, name: str, target: str) -> ModelSpec:
        """Return the model ``name`` with the keys of ``on.TARGET`` applied. Raise ``UserError`` if it is unknown."""
        if name not in self.spec.models:
            hint = did_you_mean(name, self.spec.models)
            raise UserError(f"unknown model {name!r}: {self.where('models')} has no [models.{name}]{hint}")
        return on_target(self.spec.models[name], target)

    def resolve(self, path: str) -> Path:
        """Return the full path of ``path``, as written in the config; a relative path starts at the config's folder."""
        return self.root / path


def load(path: Path, *, own: bool = True) -> Config:
    """Read and check the config file ``path`` and, if ``own`` is true, the file of own checks next to it.

    Raise ``UserError`` with a line for each of the first ``LISTED`` mistakes, such as ``hil.toml:41:
    models.digits.limts: unknown key: did you mean 'limits'?``.
    """
    text, data = read_text(path)
    values = parse(text, path.name)
    root = path.absolute().parent
    lines = Lines(text)
    wrong = list(mistakes(values, root))
    spec = None
    try:
        spec = ConfigSpec.model_validate(values)
        wrong += sense.mistakes(spec)
        wrong += pool_checks.unlike(spec.targets)
        robot = applied(spec, root)
        wrong += robot.mistakes
    except ValidationError as error:
        wrong += mistakes_of(error.errors(include_url=False))
    if wrong or spec is None:
        raise UserError(*_listed(wrong, lines, path.name))
    doubts = [*unknown_targets(values), *sense.doubts(spec), *guess_checks.doubts(spec)]
    warnings = tuple(_line(doubt, lines, path.name) for doubt in doubts)
    checks, checks_digest = own_checks.read(own_checks.place(path), robot.spec) if own else ((), None)
    digest = sha256(data).hexdigest()
    return Config(robot.spec, path.absolute(), root, digest, lines, warnings, robot.sources, checks, checks_digest)


def load_policy(path: Path) -> GateSpec:
    """Return ``[gate]`` of a config, or of a policy file, which has only this table.

    Raise ``UserError`` for an invalid file.
    """
    text, _ = read_text(path)
    values = parse(text, path.name)
    if "gate" not in values and "models" not in values:
        raise UserError(f"{path.name}: it has no table [gate], so it is not a policy: name a file that has one")
    if set(values) != {"gate"}:
        return load(path).spec.gate
    try:
        policy = GateSpec.model_validate(values["gate"])
        wrong = list(value_ranges.mistakes(policy, ("gate",)))
        if not wrong:
            return policy
    except ValidationError as error:
        details = error.errors(include_url=False)
        wrong = mistakes_of([{**detail, "loc": ("gate", *detail["loc"])} for detail in details])
    raise UserError(*_listed(wrong, Lines(text), path.name))


def _listed(wrong: Iterable[Mistake], lines: Lines, name: str) -> list[str]:
    ordered = sorted(dict.fromkeys(wrong), key=lambda mistake: lines.of(mistake.keys))
    more = [f"… and {len(ordered) - LISTED} more"] if len(ordered) > LISTED else []
    return [*(_line(mistake, lines, name) for mistake in ordered[:LISTED]), *more]


def _line(mistake: Mistake, lines: Lines, name: str) -> str:
    key = f" {written(mistake.keys)}:" if mistake.keys else ""
    return joined(f"{name}:{lines.of(mistake.keys)}:{key} {mistake.what}")
