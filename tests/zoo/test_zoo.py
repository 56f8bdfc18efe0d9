"""Real third-party models from ``hil init`` to ``hil gate``; ``benchmarks.zoo`` does it at the default settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests import warm_start
from tests.zoo import inputs
from tests.zoo.damage import verdicts
from tests.zoo.models import EARLIER, MODELS, NEW
from tests.zoo.packages import installed
from tests.zoo.project import SHORT, VALIDATION_SEED, Project

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = "silero_vad_half"
"""The model that runs all checks; the others run those of contract and parity, to save time."""


@pytest.fixture(scope="module")
def packages() -> Path:
    """Return the folder of the third-party models; skip if they cannot be installed."""
    try:
        return installed()
    except OSError as error:
        pytest.skip(str(error))


@pytest.mark.long
def test_models_go_from_init_to_gate(packages: Path, tmp_path: Path) -> None:
    """Every third-party model passes in FP32 with realistic data, after the edits that the written file asks for."""
    project = Project(tmp_path, packages, list(MODELS), warm_start.run)
    assert project.init() == 0, project.outputs["init"]
    project.write_data()
    project.edit(SHORT)
    assert project.doctor() == 0, project.outputs["doctor"]
    code = project.pytest("-k", f"contract or test_parity.py or {WHOLE}")
    assert code == 0, project.outputs["pytest"]
    judged = [row for row in project.checks() if row["cause"] != "deselected"]
    assert {row["model"] for row in judged if row["id"] == "parity.outputs"} == set(MODELS)
    assert {row["verdict"] for row in judged} <= {"passed", "measured"}, project.outputs["pytest"]
    assert project.gate() == 0, project.outputs["gate"]
    assert "Traceback" not in "".join(project.outputs.values())


def test_a_model_that_carries_its_state_is_judged_by_sequences(packages: Path, tmp_path: Path) -> None:
    """With ``carry``, a model with a state is judged by sequences, and single steps are refused as data."""
    project = Project(tmp_path, packages, [WHOLE], warm_start.run)
    assert project.init() == 0, project.outputs["init"]
    project.write_data()
    project.edit(SHORT)
    project.toml.write_text(project.toml.read_text().replace("# carry", "carry"))
    assert project.pytest("-k", "sequence") == 4, project.outputs["pytest"]
    assert "a sample is a sequence" in project.outputs["pytest"]
    frames = (inputs.frames(inputs.speech(3, seed), NEW, EARLIER) for seed in range(4))
    np.savez(tmp_path / f"{WHOLE}-validation.npz", input=np.stack([list(one) for one in frames]))
    project.pytest("-k", "sequence")
    ends = {row["id"]: row["verdict"] for row in project.checks() if row["id"].startswith("sequence.")}
    assert len(ends) == 4
    assert set(ends.values()) == {"passed"}, project.outputs["pytest"]


@pytest.mark.parametrize("name", ["320n", "ch_ppocr_mobile_v2.0_cls_mobile"])
def test_a_damaged_copy_is_refused(name: str, packages: Path, tmp_path: Path) -> None:
    """A copy with noise on its weights, or with scores of zero, is outside of the tolerances of FP32."""
    file = packages / MODELS[name].file
    rows = list(verdicts(name, file, MODELS[name].data(file, 4, VALIDATION_SEED), tmp_path))
    assert len(rows) >= 4
    assert {row["verdict"] for row in rows if row["precision"] == "fp32"} == {"failed"}


@pytest.mark.parametrize("name", MODELS)
def test_data_is_the_same_each_time(name: str, packages: Path) -> None:
    """Equal seeds give equal data of a model, other seeds other data."""
    file = packages / MODELS[name].file
    first, second, other = (MODELS[name].data(file, 4, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(first[key], second[key]) for key in first)
    assert any(not np.array_equal(first[key], other[key]) for key in first)
