from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hil.config.load import load
from hil.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

MODEL = """\
[models.a]
path = "model.onnx"
data = "synthetic"
"""


def write(folder: Path, text: str) -> Path:
    """Write ``hil.toml`` and the model that it names into one folder."""
    (folder / "model.onnx").touch()
    path = folder / "hil.toml"
    path.write_text(MODEL + text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("limits.paced = { streak = 2 }", "hil.toml:4: models.a.limits.paced: paced limits need the rate"),
        ("on.cpu.limits.paced = { streak = 2 }", "models.a.on.cpu.limits.paced: paced limits need the rate"),
        (
            'run.rate = "30 fps"\nlimits.paced = { missed = 0 }',
            "hil.toml:5: models.a.limits.paced.missed: no number of",
        ),
        ('run.rate = "30 fps"\nlimits.paced = { missed = 1 }', "limits.paced.missed: every engine meets it"),
        ("limits.sustained = { fps = 0 }", "models.a.limits.sustained.fps: every model reaches 0 fps"),
        ("limits.sustained = { slowdown = 0 }", "models.a.limits.sustained.slowdown: no measurement can prove"),
        ("limits.paced = { strek = 2 }", "did you mean 'streak'?"),
        ("run.rate = 0", "models.a.run.rate: must be at least 0.01"),
        ('run.deadline = "0 s"', "models.a.run.deadline: must be more than 0"),
        ('[measure]\nsustained = "0 s"', "measure.sustained: must be more than 0"),
        ('[measure]\nrun_duration = "0 s"', "measure.run_duration: must be more than 0"),
        ("[measure]\nruns = 0", "measure.runs: must be at least 1: got 0"),
    ],
)
def test_an_impossible_limit_has_its_line(tmp_path: Path, text: str, message: str) -> None:
    """A limit that cannot be judged is refused when the config is loaded, with a valid alternative."""
    with pytest.raises(UserError) as caught:
        load(write(tmp_path, text + "\n"))
    assert message in str(caught.value)


def test_a_rate_of_one_target_is_enough_for_its_limits(tmp_path: Path) -> None:
    """The overrides of a target are checked together with the model's own settings."""
    text = 'on.cpu.run.rate = "30 fps"\non.cpu.limits.paced = { streak = 2 }\n'
    model = load(write(tmp_path, text)).model("a", "cpu")
    assert model.run.rate == 30.0
    assert model.limits.paced.streak == 2


def test_limits_that_need_more_time_are_a_warning(tmp_path: Path) -> None:
    """Paced limits that need more releases than ``measure.paced`` allows are a warning: 0.1 % needs 4603 releases."""
    text = 'run.rate = "10 fps"\nlimits.paced = { missed = "0.1 %", p99 = "50 ms" }\n'
    (warning,) = load(write(tmp_path, text)).warnings
    assert "models.a.limits.paced.missed: needs at least 4603 releases" in warning
    assert load(write(tmp_path, text + '[measure]\npaced = "10 min"\n')).warnings == ()
