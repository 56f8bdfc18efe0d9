"""Judge the models that the config runs on the target, as ``hil lint`` does, with the target's own TensorRT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hil.doctor.findings import Finding, State
from hil.errors import UserError
from hil.lint import Machine, examine
from hil.lint.machine import machine_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hil.config.load import Config
    from hil.config.spec import ModelSpec

PART = "models"


def findings(config: Config, target: str, facts: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield the findings on each model of the config; none for a target whose runtime builds no engines.

    A model with a prebuilt ``engine`` is skipped. ``facts`` are those of ``hil.agent.machine.survey``; they may be
    malformed.
    """
    machine = machine_at(config.target(target), facts)
    if not machine.compiles:
        return
    for name in config.spec.models:
        spec = config.model(name, target)
        if spec.engine is not None:
            continue  # what was built elsewhere is judged as it is
        for file in dict.fromkeys((spec.path, *spec.deployed_files)):
            yield from _model(config.resolve(file), machine, spec, name)


def _model(path: Path, machine: Machine, spec: ModelSpec, name: str) -> Iterator[Finding]:
    try:
        examined = examine(path, machine, spec=spec, name=name, parser=False)
    except UserError as error:
        yield Finding(PART, name, str(error).split("\n")[0], "bad")
        return
    for one in examined.findings:
        state: State = one.level
        yield Finding(PART, name, f"{one.where}: {one.what}", state, one.fix)
    if not examined.findings:
        yield Finding(PART, name, f"nothing found in {path.name}")
