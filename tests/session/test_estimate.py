"""``estimate``: the length of a run, from its plan and the speed of the references."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.config.load import load
from hil.config.spec import MeasureSpec
from hil.plan import expand
from hil.session.estimate import Speed, estimate, soak_seconds
from hil.session.reference_speed import estimated
from tests.config.example import project
from tests.plugins.project import samples, save, toy

if TYPE_CHECKING:
    from pathlib import Path

    from hil.config.load import Config

MODEL = '[models.a]\npath = "examples/digits/model.onnx"\ndata = "examples/digits/validation.npz"\nsamples = 100\n'
GPU = '[targets.gpu]\nkind = "local"\nruntime = "tensorrt"\npython = "/usr/bin/python3"\n'


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Return a config of one model with validation data, for the CPU and for a GPU."""
    return load(project(tmp_path, MODEL + GPU))


def test_an_estimate_says_what_it_consists_of(config: Config) -> None:
    """An estimate has the length, its parts, its basis, and what it leaves out."""
    rows = expand(config, "gpu").rows
    text = str(estimate(config, "gpu", rows, {"a": Speed(0.05, 1000)}, 1))
    assert text.startswith("estimated length: ")
    assert "memory 21 s" in text  # 20 s of soak and a fresh process
    assert "comparing 10 s" in text  # 100 samples by the reference and by the engine
    assert "speed of the references on this machine" in text
    assert text.endswith("without building engines")


def test_the_steps_of_sequences_are_counted(tmp_path: Path) -> None:
    """A sample of a model with a state is estimated by all its steps."""
    config = load(project(tmp_path, f'{MODEL}[models.a.inputs.image]\ncarry = "scores"\n'))
    rows = expand(config, "cpu").rows
    short, long = (estimate(config, "cpu", rows, {"a": Speed(0.01, 10, steps)}, 1) for steps in (100, 200))
    assert long.parts["comparing"] == 2 * short.parts["comparing"]
    assert short.parts["comparing"] >= 3 * 10 * 100 * 0.01  # once by the reference, twice by the engine


def test_a_model_of_unknown_speed_is_named(config: Config) -> None:
    """A model whose reference could not be run is named, and its inferences are not counted."""
    rows = expand(config, "cpu").rows
    unknown = estimate(config, "cpu", rows, {}, 1)
    assert unknown.seconds < estimate(config, "cpu", rows, {"a": Speed(0.05, 1000)}, 1).seconds
    assert "estimated from the plan alone; without the inferences of a, whose reference could not be run" in str(
        unknown
    )


@pytest.mark.parametrize(("settings", "waits"), [("", 1), ("run.streams = 2\n", 2)])
def test_runs_wait_once_for_all_precisions(tmp_path: Path, settings: str, waits: int) -> None:
    """The runs of a model are spread once, and once more for inferences in flight."""
    config = load(project(tmp_path, MODEL + f'precisions = ["fp32", "fp16"]\n{settings}{GPU}'))
    row = expand(config, "gpu").rows[0]

    def waiting(*checks: str) -> float:
        rows = [row.model_copy(update={"id": c, "precision": p}) for c in checks for p in ("fp32", "fp16")]
        return estimate(config, "gpu", rows, {}, 3, over=60).parts.get("waiting between runs", 0)

    assert waiting("latency.p50", "fps.sustained") == 60 * waits
    assert waiting("latency.cold_load") == 0


def test_nothing_to_run_takes_no_time(config: Config) -> None:
    """Without rows the estimate is zero, whatever is known of models."""
    assert estimate(config, "cpu", (), {"a": Speed(0.05, 1000)}, 1).seconds == 0


@given(st.floats(1e-5, 5), st.integers(1, 30))
def test_a_slower_model_and_more_runs_take_longer(one: float, runs: int) -> None:
    """The estimate of a soak grows with the time of an inference and with a configured number of inferences."""
    spec = MeasureSpec()
    assert soak_seconds(spec, one) <= soak_seconds(spec, 2 * one)
    assert 100 * one <= soak_seconds(spec, one) <= max(20.0, 100 * one) + 1e-9
    assert soak_seconds(MeasureSpec(soak=1000 * runs), one) == pytest.approx(1000 * runs * one)


def test_the_reference_is_run_for_a_moment(config: Config) -> None:
    """The references of the planned models are timed on their own data; a reference that cannot run is left out."""
    toy(config.resolve("examples/digits/model.onnx"))
    save(config.resolve("examples/digits/validation.npz"), samples())
    assert not estimated(config, "cpu").unknown
    config.resolve("examples/digits/validation.npz").unlink()
    assert estimated(config, "cpu").unknown == ("a",)
