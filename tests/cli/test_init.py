"""``hil init`` writes a config that loads and runs as it is, lists what it guessed, and never loses the user's text."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hil.cli import main
from hil.config.load import load
from hil.datasets import open_dataset
from hil.errors import ExitCode
from hil.onnx_files.declared import declare
from hil.onnx_files.signature import read_signature
from hil.report.read_report import parse
from hil.results import Verdict
from tests.datasets.project import write_model
from tests.proposals import networks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hil.config.spec import ModelSpec

GOOD = (Verdict.PASSED, Verdict.WARNED)
MEASURE = """
[measure]
duration = "100 ms"
warmup = "20 ms"
budget = "200 ms"
run_duration = "50 ms"
soak = 100
examples = 5
"""
RUN: dict[str, Callable[[Path], Path]] = {
    "classifier": networks.classifier,
    "gru": networks.gru,
    "vad": networks.vad,
    "tokens": networks.tokens,
    "crnn": lambda path: networks.reader(path, "D", 3, "D", "D"),
    "lengths": networks.lengths,
}
"""The small networks, whose checks are run. In the last two, dimensions of one name have different sizes."""

MODELS: dict[str, Callable[[Path], Path]] = {
    **RUN,
    "detector": networks.detector,
    "reader": networks.reader,
    "resized": networks.resized,
}
"""All networks."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one network of each kind, and the config: one call wrote it for ``RUN``, another added the rest."""
    root = tmp_path_factory.mktemp("init")
    output = root / "hil.toml"
    files = [str(write(root / f"{name}.onnx")) for name, write in MODELS.items()]
    assert main(["init", *files[: len(RUN)], "-o", str(output)]) == 0
    shutil.copy(output, root / "first.toml")
    assert main(["init", *files[len(RUN) :], "-o", str(output)]) == 0
    assert output.read_bytes().startswith((root / "first.toml").read_bytes())
    return root


def guesses(model: ModelSpec) -> dict[str, Any]:
    """Return every declaration of the model's inputs and sizes, by its key."""
    inputs = {
        f"inputs.{name}.{key}": getattr(one, key) for name, one in model.inputs.items() for key in one.model_fields_set
    }
    return {**inputs, **{f'shapes."{name}"': sizes for name, sizes in model.shapes.items()}}


def test_every_declaration_is_listed_as_a_guess(project: Path) -> None:
    """Each declaration that init wrote is an entry of ``guessed``, and so warns."""
    config = load(project / "hil.toml")
    for name, model in config.spec.models.items():
        assert set(guesses(model)) == set(model.guessed), name
        assert model.guessed, name
    assert len([line for line in config.warnings if "guessed and not confirmed" in line]) == len(MODELS)


@pytest.mark.parametrize(
    ("name", "declared"),
    [
        (
            "detector",
            {"inputs.images.shape": ("batch", 3, 640, 640), "inputs.images.multiple_of": (1, 1, 32, 32)},
        ),
        ("classifier", {"inputs.image.shape": ("batch", 3, 224, 224)}),
        ("reader", {"inputs.x.shape": ("batch", 3, 48, 320)}),
        (
            "crnn",
            {
                "inputs.x.shape": ("batch", 3, "x[2]", "x[3]"),
                'shapes."x[2]"': (48, 48, 48),
                'shapes."x[3]"': (192, 192, 192),
            },
        ),
        (
            "lengths",
            {
                "inputs.a.shape": ("batch", "a[1]"),
                "inputs.b.shape": ("batch", "b[1]"),
                'shapes."a[1]"': (512, 512, 512),
                'shapes."b[1]"': (256, 256, 256),
            },
        ),
        ("gru", {"inputs.x.shape": (100, "batch", 4), "inputs.x.batch_axis": 1, "inputs.h0.batch_axis": 1}),
        ("vad", {"inputs.input.shape": ("batch", 512), "inputs.state.batch_axis": 1, "inputs.sr.value": 16_000}),
        (
            "tokens",
            {
                "inputs.input_ids.shape": ("batch", 128),
                "inputs.input_ids.range": (0, 99),
                "inputs.attention_mask.shape": ("batch", 128),
                "inputs.attention_mask.range": (1, 1),
            },
        ),
        ("resized", {"inputs.orig_im_size.batch_axis": "none", "inputs.orig_im_size.range": (640, 640)}),
    ],
)
def test_what_is_found_by_trial_runs(project: Path, name: str, declared: dict[str, Any]) -> None:
    """Usual sizes that run, multiples, batch axes, constants and ranges are declared, and nothing else."""
    assert guesses(load(project / "hil.toml").spec.models[name]) == declared


def test_what_only_real_data_can_confirm_is_a_comment(project: Path) -> None:
    """What only real data can confirm is proposed in comments; uncommented lines are valid."""
    text = (project / "hil.toml").read_text(encoding="utf-8")
    for line in (
        '# task     = "detection"',
        '# layout = "channels-first"',
        '# carry = "hn"',
        '# carry = "stateN"',
        '# exclude_nodes = ["GRU_0"]',
        "# The shapes are those of a text recognizer",
        '#   "images": float32[samples, 3, 640, 640]',
    ):
        assert line in text, line
    for old in (
        "# task     = ",
        "# metric   = ",
        "# layout = ",
        "# boxes  = ",
        "# nms    = ",
        "# carry = ",
        "# [models.detector.detection]",
    ):
        text = text.replace(old, old[2:])
    (project / "confirmed.toml").write_text(text, encoding="utf-8")
    models = load(project / "confirmed.toml").spec.models
    detection = models["detector"].detection
    assert (models["detector"].task, models["detector"].metric) == ("detection", "map50")
    assert detection is not None
    assert detection.layout == "channels-first"
    assert (models["gru"].inputs["h0"].carry, models["vad"].inputs["state"].carry) == ("hn", "stateN")


def test_the_file_runs_as_it_is_and_the_run_is_warned(project: Path, tmp_path: Path) -> None:
    """The checks of all models run with exit code 0; the run is WARNED, and its report has every guess."""
    root = tmp_path / "run"
    shutil.copytree(project, root)
    (root / "hil.toml").write_text((root / "first.toml").read_text(encoding="utf-8") + MEASURE, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "--pyargs", "hil.suites", "--target=cpu", "-q", "-p", "no:cacheprovider"]
    selected = ["-k", "contract or parity"]
    env = {**os.environ, "CI": "true"}  # without it, a selection is a trial and has no decision
    command += selected
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False, timeout=600)
    report = parse((root / "report/report.json").read_bytes())
    assert done.returncode == 0, done.stdout
    assert "warning: hil.toml:" in done.stdout
    assert report.decision == "WARNED"
    assert set(report.config.guessed) == set(RUN)
    assert not {check.name: check.reason for check in report.checks if check.required and check.verdict not in GOOD}
    assert "guessed and not confirmed: classifier: inputs.image.shape" in " ".join(report.reasons)
    assert main(["gate", str(root / "report"), "--json"]) == 0


def test_a_model_is_added_to_a_file(project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model is added at the end of an existing file, with a new name; the same model is not added twice."""
    (tmp_path / "other").mkdir()
    for path in ("reader.onnx", "other/reader.onnx"):
        shutil.copy(project / "resized.onnx", tmp_path / path)
    output = tmp_path / "hil.toml"
    mine = "# mine\n[models.reader]\npath = 'reader.onnx'  # the first\ndata = 'synthetic'\n[gate]\nwarnings = true"
    output.write_text(mine)
    assert main(["init", str(tmp_path / "other/reader.onnx"), "-o", str(output)]) == 0
    text = output.read_text()
    assert text.startswith(mine + "\n\n# The model's own inputs and outputs:\n")
    assert "added to" in capsys.readouterr().out
    models = load(output).spec.models
    assert {name: one.path for name, one in models.items()} == {
        "reader": "reader.onnx",
        "reader-2": "other/reader.onnx",
    }
    assert main(["init", str(tmp_path / "other/reader.onnx"), "-o", str(output)]) == ExitCode.USER_ERROR
    assert "is model reader-2 of" in capsys.readouterr().err
    assert main(["init", "new.onnx", "./new.onnx", "-o", str(output)]) == ExitCode.USER_ERROR
    assert "new.onnx is listed twice: name each model once" in capsys.readouterr().err
    assert output.read_text() == text


def test_the_starter_loads_and_gives_data(tmp_path: Path, repository: Path) -> None:
    """The starter for a model without dynamic sizes has no guesses and no warnings, and its samples fit the model."""
    model = repository / "examples/arm/model.onnx"
    assert main(["init", str(model), "--output", str(tmp_path / "hil.toml")]) == 0
    config = load(tmp_path / "hil.toml")
    arm = config.spec.models["arm"]
    assert config.warnings == ()
    assert (arm.precisions, arm.data, arm.guessed, config.spec.gate.evidence) == (("fp32",), "synthetic", (), "host")
    data = open_dataset(
        arm.data,
        config=config,
        model="arm",
        signature=declare(read_signature(config.resolve(arm.path)), arm, "arm"),
        preprocess=arm.preprocess,
        ranges=arm.ranges,
        where=config.where("models", "arm", "data"),
    )
    assert next(data.batches(arm.batch)).inputs["tool"].shape == (1, 3)


def test_a_config_is_replaced_only_with_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not TOML is replaced only with ``--force``."""
    model = write_model(tmp_path / "m.onnx", [4, 2])
    output = tmp_path / "hil.toml"
    output.write_text("mine")
    assert main(["init", str(model), "-o", str(output)]) == ExitCode.USER_ERROR
    assert output.read_text() == "mine"
    assert "not TOML" in capsys.readouterr().err
    assert main(["init", str(model), "-o", str(output), "--force"]) == 0
    assert (load(output).spec.models["m"].path, load(output).spec.models["m"].batch) == ("m.onnx", 4)
    out = capsys.readouterr().out
    length = "on cpu: estimated length: "
    for text in ("x: float32[4, 2]", "never satisfies a gate", "--target=cpu", "[targets.jetson-orin]", length):
        assert text in out


@pytest.mark.parametrize("kind", ["absent", "half", "never"])
def test_a_bad_model_leaves_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    """An ONNX file that is missing, invalid or runs at no size gives one message, exit code 4 and no config."""
    good = write_model(tmp_path / "good.onnx", ["batch", 2])
    if kind == "half":
        (tmp_path / "m.onnx").write_bytes(b"half of a model")
    elif kind == "never":
        networks.never(tmp_path / "m.onnx")
    before = sorted(tmp_path.iterdir())
    assert main(["init", str(good), str(tmp_path / "m.onnx"), "-o", str(tmp_path / "hil.toml")]) == ExitCode.USER_ERROR
    assert sorted(tmp_path.iterdir()) == before
    assert ("n: 16000, 512" if kind == "never" else "cannot read") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("network", "advice"),
    [
        ("m (float[4] x) => (int64[1, n] y) { y = NonZero (zero) }", "use data, or a range"),
        ("m (float[0, 4] x) => (float[0, 4] y) { y = Abs (x) }", "input 'x' has a size of 0 in the file"),
    ],
)
def test_an_output_without_elements_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], network: str, advice: str
) -> None:
    """An output that was empty in the trial run is named, since nothing of it can be compared."""
    networks.save(tmp_path / "m.onnx", network, zero=np.zeros(4, np.float32))
    assert main(["init", str(tmp_path / "m.onnx"), "-o", str(tmp_path / "hil.toml")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "'y' had no element in the trial run" in shown
    assert advice in shown


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing folder is named in the message and is not created."""
    model = write_model(tmp_path / "m.onnx", ["batch", 2])
    assert main(["init", str(model), "-o", str(tmp_path / "absent" / "hil.toml")]) == ExitCode.USER_ERROR
    assert "cannot write" in capsys.readouterr().err
