"""The machine that a model is examined for: a Jetson module, a JetPack release and its TensorRT, as far as known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hil.errors import UserError, did_you_mean
from hil.jetson import MODULES, RELEASES, Module, Release, identify, module_of
from hil.runtimes import RuntimeRecord, runtime_record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.config.spec import TargetSpec


@dataclass(frozen=True)
class Machine:
    """What is known of a machine; ``None`` is unknown, and a rule then reports only what holds for every machine.

    Attributes:
        runtime: the record of the runtime that shall run the model.
        module: the Jetson module.
        release: the JetPack release.
        tensorrt: the version of TensorRT, as the machine reports it, else that of the release.
    """

    runtime: RuntimeRecord
    module: Module | None = None
    release: Release | None = None
    tensorrt: str | None = None

    @property
    def compiles(self) -> bool:
        """Whether the runtime builds engines, as TensorRT does."""
        return self.runtime.compiles

    @property
    def major(self) -> int | None:
        """The major version of TensorRT; ``None`` if unknown."""
        first = (self.tensorrt or "").partition(".")[0]
        return int(first) if first.isdecimal() else None

    @property
    def has_int64(self) -> bool | None:
        """Whether tensors of int64 stay int64; ``None`` if unknown."""
        since = self.runtime.int64_since
        return True if since is None else None if self.major is None else self.major >= since

    def __str__(self) -> str:
        """Return, for example, ``orin-nx-16gb with JetPack 6.2 (TensorRT 10.3.0)``."""
        if not self.compiles:
            return self.runtime.label
        module = self.module.slug if self.module else "any module"
        version = f"{self.runtime.label} {self.tensorrt}" if self.tensorrt else f"any {self.runtime.label}"
        return (
            f"{module} with JetPack {self.release.jetpack} ({version})" if self.release else f"{module} with {version}"
        )


def machine_named(module: str | None, jetpack: str | None, spec: TargetSpec | None = None) -> Machine:
    """Return the machine with these names of module and JetPack release, each ``None`` if not named.

    ``spec`` is the config of a target, whose runtime and board are used. Raise ``UserError`` for a name that is not in
    the tables, and for a release that does not support the module.
    """
    board = spec.board if spec is not None and module is None else module
    known = None if board is None else module_of(board)
    if module is not None and known is None:
        slugs = [one.slug for one in MODULES]
        raise UserError(f"--module {module}: there is no such Jetson module{did_you_mean(module, slugs)}")
    release = next((one for one in RELEASES if one.jetpack == jetpack), None)
    if jetpack is not None and release is None:
        names = ", ".join(one.jetpack for one in RELEASES)
        raise UserError(f"--jetpack {jetpack}: this release is not in the table: it has {names}")
    if known is not None and release is not None and known.soc not in release.socs:
        fitting = ", ".join(one.jetpack for one in RELEASES if known.soc in one.socs)
        raise UserError(f"JetPack {jetpack} does not support {known.slug}: name one of {fitting}")
    runtime = runtime_record("tensorrt" if spec is None else spec.runtime)
    return Machine(runtime, known, release, None if release is None else release.tensorrt)


def machine_at(spec: TargetSpec, facts: Mapping[str, Any]) -> Machine:
    """Return the machine of a target by its config ``spec`` and by ``facts``, what it reports of itself.

    ``facts`` has ``board`` and ``runtimes`` as the agent's survey has them; either may be missing or malformed.
    """
    record, identity, versions = runtime_record(spec.runtime), identify(facts.get("board")), facts.get("runtimes")
    reported = versions.get(spec.runtime) if isinstance(versions, dict) else None
    release = identity.release
    shipped = None if release is None else release.tensorrt
    module = identity.module or module_of(spec.board or "")
    return Machine(record, module, release, reported if isinstance(reported, str) else shipped)
