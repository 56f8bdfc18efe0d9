"""``hil init`` writes a starter config that loads, lists the values to fill in, and replaces a file only if forced."""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from hil.cli import main
from hil.cli.views.starter import SIZES, model_name, sizes_that_run, starter
from hil.config.explain import quoted
from hil.config.load import load
from hil.datasets import open_dataset
from hil.errors import ExitCode
from hil.onnx_files.signature import Signature, read_signature
from tests.datasets.project import spec, write_model

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


def test_the_starter_loads_and_gives_data(tmp_path: Path, repository: Path) -> None:
    """The starter for a bundled model loads without warnings, and its samples fit the model."""
    model = repository / "examples/arm/model.onnx"
    assert main(["init", str(model), "--output", str(tmp_path / "hil.toml")]) == 0
    config = load(tmp_path / "hil.toml")
    arm = config.spec.models["arm"]
    assert config.warnings == ()
    assert (arm.precisions, arm.data, config.spec.gate.evidence) == (("fp32",), "synthetic", "host")
    data = open_dataset(
        arm.data,
        config=config,
        model="arm",
        signature=read_signature(config.resolve(arm.path)),
        preprocess=arm.preprocess,
        ranges=arm.ranges,
        where=config.where("models", "arm", "data"),
    )
    assert next(data.batches(arm.batch)).inputs["tool"].shape == (1, 3)


def test_the_next_commands_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints inputs, outputs, a warning that random data is no evidence, next commands, an estimate."""
    model = write_model(tmp_path / "m.onnx", ["batch", 2])
    assert main(["init", str(model), "-o", str(tmp_path / "hil.toml")]) == 0
    out = capsys.readouterr().out
    for text in ("x: float32[batch, 2]", "never satisfies a gate", "--target=cpu", "[targets.jetson-orin]"):
        assert text in out
    assert "on cpu: estimated length: " in out


def test_a_config_is_replaced_only_with_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An existing config is replaced only with ``--force``."""
    model = write_model(tmp_path / "m.onnx", ["batch", 2])
    output = tmp_path / "hil.toml"
    output.write_text("mine")
    assert main(["init", str(model), "-o", str(output)]) == ExitCode.USER_ERROR
    assert output.read_text() == "mine"
    assert "--force replaces it" in capsys.readouterr().err
    assert main(["init", str(model), "-o", str(output), "--force"]) == 0
    assert load(output).spec.models["m"].path == "m.onnx"


@pytest.mark.parametrize("data", [None, b"half of a model"])
def test_a_bad_model_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes | None
) -> None:
    """A missing or invalid ONNX file gives one message, exit code 4 and no config."""
    if data is not None:
        (tmp_path / "m.onnx").write_bytes(data)
    before = sorted(tmp_path.iterdir())
    assert main(["init", str(tmp_path / "m.onnx"), "-o", str(tmp_path / "hil.toml")]) == ExitCode.USER_ERROR
    assert sorted(tmp_path.iterdir()) == before
    assert "cannot read" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing folder is named in the message and is not created."""
    model = write_model(tmp_path / "m.onnx", ["batch", 2])
    assert main(["init", str(model), "-o", str(tmp_path / "absent" / "hil.toml")]) == ExitCode.USER_ERROR
    assert "cannot write" in capsys.readouterr().err


def test_a_fixed_batch_and_dynamic_sizes_are_written(tmp_path: Path) -> None:
    """Fixed dimensions stay, and dynamic ones get a size that runs."""
    model = write_model(tmp_path / "m.onnx", [4, "height"])
    assert main(["init", str(model), "-o", str(tmp_path / "hil.toml")]) == 0
    config = load(tmp_path / "hil.toml").spec.models["m"]
    assert config.batch == 4
    assert config.shapes == {"height": (1, 1, 1)}


def test_sizes_are_tried_until_one_runs(tmp_path: Path) -> None:
    """A model that needs at least 8 in each dimension gets 8."""
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, "h", "w"])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    weight = helper.make_tensor("k", TensorProto.FLOAT, [1, 1, 5, 5], [1.0] * 25)
    graph = helper.make_graph([helper.make_node("Conv", ["x", "k"], ["y"])], "g", [image], [out], [weight])
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), str(path))
    assert sizes_that_run(path, read_signature(path)) == {"h": 8, "w": 8}
    assert SIZES[0] == 1


@given(stem=NAMES, inputs=st.lists(NAMES, min_size=1, max_size=3, unique=True), dimension=NAMES)
def test_any_names_make_a_config(
    tmp_path_factory: pytest.TempPathFactory, stem: str, inputs: list[str], dimension: str
) -> None:
    """Any names of files, inputs and dimensions survive as valid TOML."""
    dims = tuple(spec(name, "float32", "batch", dimension) for name in inputs)
    text = starter(
        Signature(dims, (spec("y", "float32", "batch"),)), "m.onnx", model_name(Path("f") / stem), {dimension: 3}
    )
    root = tmp_path_factory.mktemp("starter")
    (root / "hil.toml").write_bytes(text.encode())
    (root / "m.onnx").touch()
    (model,) = load(root / "hil.toml").spec.models.values()
    assert model.shapes == {dimension: (3, 3, 3)}


@given(NAMES)
def test_any_text_can_be_quoted(text: str) -> None:
    """Paths with quotes, backslashes and control characters survive a round trip through TOML."""
    assert tomllib.loads(f"path = {quoted(text)}") == {"path": text}
