"""``docs/config.md`` documents every key of every table with the default of the spec."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, get_args, get_origin

import pytest
from pydantic import BaseModel

from hil.config import fields, limits, models, spec, targets

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic.fields import FieldInfo

TABLES: dict[str, type[BaseModel]] = {
    "project": spec.ProjectSpec,
    "targets.NAME": spec.TargetSpec,
    "targets.NAME.container": spec.ContainerSpec,
    "targets.NAME.deploy": spec.DeploySpec,
    "targets.NAME.deploy.container": spec.DeployContainerSpec,
    "models.NAME": spec.ModelSpec,
    "models.NAME.inputs.INPUT": spec.InputSpec,
    "models.NAME.outputs.OUTPUT": spec.OutputSpec,
    "models.NAME.detection": spec.DetectionSpec,
    "models.NAME.calibration": spec.CalibrationSpec,
    "models.NAME.build": spec.BuildSpec,
    "models.NAME.run": spec.RunSpec,
    "models.NAME.limits": spec.LimitsSpec,
    "models.NAME.limits.PRECISION": spec.PrecisionLimits,
    "models.NAME.limits.PRECISION.speedup": spec.SpeedupLimit,
    "models.NAME.limits.latency": spec.LatencyLimits,
    "models.NAME.limits.regression": spec.RegressionLimits,
    "models.NAME.limits.paced": spec.PacedLimits,
    "models.NAME.limits.sustained": spec.SustainedLimits,
    "models.NAME.tolerances.PRECISION": spec.TolerancesSpec,
    "models.NAME.on.TARGET": spec.OverrideSpec,
    "measure": spec.MeasureSpec,
    "gate": spec.GateSpec,
}
ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| (.+) \|$", re.MULTILINE)


def documented(repository: Path) -> dict[str, dict[str, str]]:
    """Return the documented tables by name: each key with its default as written."""
    text = (repository / "docs" / "config.md").read_text(encoding="utf-8")
    parts = re.split(r"^## \[(.+)\]$", text, flags=re.MULTILINE)[1:]
    return {
        name: {key: default for key, default, _ in ROW.findall(body)}
        for name, body in zip(*[iter(parts)] * 2, strict=True)
    }


def test_every_table_is_there(repository: Path) -> None:
    """The page has the tables of the spec in the same order and no others."""
    assert list(documented(repository)) == list(TABLES)
    named = [each for module in (fields, targets, limits, models, spec) for each in vars(module).values()]
    tables = {each for each in named if isinstance(each, type) and issubclass(each, spec.Table)}
    assert tables - set(TABLES.values()) == {
        spec.Table,
        spec.StatedTable,
        spec.CommonLimits,
        spec.ConfigSpec,
        spec.ToleranceSpec,
    }


@pytest.mark.parametrize("name", TABLES)
def test_every_key_is_there_with_its_default(repository: Path, name: str) -> None:
    """The page documents exactly the keys of the spec."""
    keys = documented(repository)[name]
    fields = TABLES[name].model_fields
    if TABLES[name] is spec.PrecisionLimits:  # the page has the keys of all limits once
        fields = {key: field for key, field in fields.items() if key not in spec.CommonLimits.model_fields}
    assert set(keys) == set(fields)
    for key, field in fields.items():
        assert read(name, key, keys[key]) == default(field), key


def default(field: FieldInfo) -> Any:
    """Return the spec's default as plain values; a table becomes its differences from its own defaults."""
    if field.is_required():
        return "required"
    return {} if isinstance(field.default, BaseModel) else field.default


def sample(field: FieldInfo) -> Any:
    """Return a valid value for a required key: the first of its literals, if it has any."""
    if get_origin(field.annotation) is tuple:
        return ("x",)
    return next(iter(get_args(field.annotation)), "x")


def read(table: str, key: str, text: str) -> Any:
    """Return the documented default as the spec would store it."""
    if text in {"required", "—"}:
        return text if text == "required" else None
    value = tomllib.loads(f"value = {text.strip('`')}")["value"]
    value = tuple(value) if isinstance(value, list) else value
    if isinstance(value, dict):
        return value
    model = TABLES[table]
    needed = {each: sample(field) for each, field in model.model_fields.items() if field.is_required()}
    return getattr(model.model_validate({**needed, key: value}), key)
