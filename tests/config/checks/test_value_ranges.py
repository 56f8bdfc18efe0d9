"""A limit that every model meets is refused; each key declares the range of its quantity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import BaseModel

from hil.catalogue import KINDS
from hil.config.checks.value_ranges import declared_by
from hil.config.fields import PRECISIONS
from hil.config.limits import LimitsSpec, SpeedupLimit, ToleranceSpec, TolerancesSpec
from hil.config.load import load, load_policy
from hil.config.spec import StatedTable
from hil.errors import ExitCode, UserError
from hil.results import Sense
from tests.plugins.project import Project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hil.config.fields import Reach

Keys = tuple[str, ...]
MODEL = '[models.a]\npath = "model.onnx"\ndata = "synthetic"\nrun.rate = "30 fps"\n'


def reaches(table: type[BaseModel], *keys: str) -> Iterator[tuple[Keys, Reach | None]]:
    """Yield each key of a table of limits, by its path, with the ``Reach`` that it declares."""
    for name, field in table.model_fields.items():
        kind = field.annotation
        if name in StatedTable.model_fields or name == "outputs" or name in PRECISIONS:
            continue
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from reaches(kind, *keys, name)
        else:
            yield (*keys, name), declared_by(table).get(name)


LIMITS = dict(reaches(LimitsSpec, "limits"))
TOLERANCES = dict(reaches(TolerancesSpec, "tolerances", "fp32"))
OUTPUTS = dict(reaches(ToleranceSpec, "tolerances", "fp32", "outputs", "y"))
EDGES = {keys: reach for keys, reach in {**LIMITS, **TOLERANCES, **OUTPUTS}.items() if reach and reach.edge is not None}


def refused(folder: Path, text: str) -> str:
    """Return the only line of the message about a config with this text."""
    (folder / "model.onnx").touch()
    (folder / "hil.toml").write_text(text)
    with pytest.raises(UserError) as caught:
        load(folder / "hil.toml")
    assert caught.value.exit_code is ExitCode.USER_ERROR
    (line,) = str(caught.value).splitlines()
    return line


def test_every_limit_declares_what_can_be_reached() -> None:
    """Every limit and tolerance declares either a range or the reason why it has none."""
    undeclared = [keys for keys, reach in {**LIMITS, **TOLERANCES, **OUTPUTS}.items() if reach is None]
    assert not undeclared
    for kind in KINDS:
        if kind.limit is not None:
            keys: Keys = ("limits", *kind.limit.path)
            reach = LIMITS[keys] if keys in LIMITS else dict(reaches(SpeedupLimit, "limits", "speedup"))[keys]
            assert reach is not None
            assert reach.edge is None or reach.at_least is (kind.limit.sense is Sense.AT_LEAST), kind.id
            assert kind.limit.default is None or not reach.wrong(kind.limit.default)


@pytest.mark.parametrize("keys", EDGES, ids=".".join)
@pytest.mark.parametrize("place", ["", "on.cpu."])
def test_a_limit_that_every_model_meets_is_refused(tmp_path: Path, keys: Keys, place: str) -> None:
    """A value at the edge or past it is refused with key, line, reason and example, also for one target."""
    reach = EDGES[keys]
    assert reach.edge is not None
    for value in dict.fromkeys((reach.edge, max(reach.edge, reach.edge * 5))):
        line = refused(tmp_path, MODEL + f"{place}{'.'.join(keys)} = {value}\n")
        assert line.startswith(f"hil.toml:5: models.a.{place}{'.'.join(keys)}: ")
        assert "write e.g. " in line
    stricter = reach.edge + (0.9 if reach.at_least else -0.1)
    (tmp_path / "hil.toml").write_text(MODEL + f"{place}{'.'.join(keys)} = {stricter}\n")
    load(tmp_path / "hil.toml")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[gate]\ndetects = 3", "gate.detects"),
        ("[gate]\ndetects = 1", "gate.detects"),
        ('[gate]\nmax_age = "1000 weeks"', "gate.max_age"),
        ('[measure]\nbaseline_age = "1000 weeks"', "measure.baseline_age"),
        ("[targets.b]\nstart_below = 150", "targets.b.start_below"),
        ('[targets.b]\nfree_memory = "0 B"', "targets.b.free_memory"),
        ('[targets.b]\nreserve_memory = "0 B"', "targets.b.reserve_memory"),
    ],
)
def test_other_criteria_have_ranges_too(tmp_path: Path, text: str, where: str) -> None:
    """The keys of the gate, of a baseline, of a board's state and of a policy file are checked too."""
    assert f" {where}: " in refused(tmp_path, MODEL + text + "\n")
    if text.startswith("[gate]"):
        (tmp_path / "policy.toml").write_text(text + "\n")
        with pytest.raises(UserError, match=where):
            load_policy(tmp_path / "policy.toml")


def test_all_of_the_memory_removes_the_default_limit(tmp_path: Path) -> None:
    """``system_memory = "100 %"`` is allowed, because it removes the default limit of 85 %."""
    (tmp_path / "model.onnx").touch()
    (tmp_path / "hil.toml").write_text(MODEL + 'limits.system_memory = "100 %"\n')
    assert load(tmp_path / "hil.toml").spec.models["a"].limits.system_memory == 1


def test_the_command_line_refuses_it(tmp_path: Path) -> None:
    """A limit that every model meets ends the run with one message and exit code 4 before any test."""
    project = Project.make(tmp_path)
    project.edit('memory = "4 GiB"', 'memory = "4 GiB"\nint8_clipping = 5')
    ran = project.run("--target=cpu", "--pyargs", "hil.suites")
    assert ran.code == int(ExitCode.USER_ERROR), ran.out
    assert "limits.int8_clipping: 500 % is more than 100 %: write e.g. '5 %'" in ran.out
    assert ran.report is None
