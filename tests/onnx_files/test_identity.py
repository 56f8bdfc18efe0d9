"""The parts of a model, and which parts each cache depends on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from hil.config.load import load
from hil.datasets import open_dataset
from hil.onnx_files.identity import changes, identity_of, sources_of
from hil.onnx_files.signature import read_signature
from hil.quantize import key_parts
from tests.plugins.project import toy

if TYPE_CHECKING:
    from pathlib import Path

    from hil.results import Part

CONFIG = """
[models.toy]
path = "nets/toy.onnx"
deployed = "other.onnx"
data = "images"
preprocess = "pre.steps:read"
training_data = "train:samples"
reference = "saved.npz"
task = "score:each"
precisions = ["int8"]

[models.toy.calibration]
data = "images"

[models.toy.build]
plugins = ["plugin.so"]

[models.toy.on.robot]
engine = "robot.plan"
"""
PARTS = (
    ("deployed", "other.onnx"),
    ("external-data", "nets/toy.data"),
    ("module", "pre/__init__.py"),
    ("module", "pre/scale.py"),
    ("module", "pre/steps.py"),
    ("module", "score.py"),
    ("module", "train.py"),
    ("onnx", "nets/toy.onnx"),
    ("plugin", "plugin.so"),
    ("preprocess", "pre.steps:read"),
    ("reference", "saved.npz"),
    ("task", "score:each"),
    ("training_data", "train:samples"),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with a model that has a part of nearly every role."""
    (tmp_path / "nets").mkdir()
    (tmp_path / "pre").mkdir()
    (tmp_path / "images").mkdir()
    toy(tmp_path / "other.onnx")
    model = onnx.load(tmp_path / "other.onnx")
    place = {"save_as_external_data": True, "location": "toy.data", "size_threshold": 0}
    onnx.save_model(model, tmp_path / "nets" / "toy.onnx", **place)  # type: ignore[arg-type] # one dict for several parameters
    texts = {
        "hil.toml": CONFIG,
        "pre/__init__.py": "",
        "pre/scale.py": "by = 255",
        "pre/steps.py": "import numpy as np\n\ndef read(path):\n"
        "    from .scale import by\n    return {'x': np.full(6, len(path.read_bytes()) / by, np.float32)}\n",
        "score.py": "def each(outputs, labels):\n    return [1.0]\n",
        "train.py": "def samples():\n    yield {}\n",
        "images/a.png": "a",
        "plugin.so": "plugin",
        "robot.plan": "plan",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    np.savez(tmp_path / "saved.npz", scores=np.zeros(1))
    return tmp_path


def _parts(root: Path, target: str = "cpu") -> tuple[Part, ...]:
    return sources_of(load(root / "hil.toml"), "toy", target).parts()


def test_every_file_and_callable_is_a_part(root: Path) -> None:
    """Parts have a role and a name; files that only a target uses are parts only on that target."""
    assert [(part.role, part.name) for part in _parts(root)] == list(PARTS)
    on_robot = [(part.role, part.name) for part in _parts(root, "robot")]
    assert set(on_robot) - set(PARTS) == {("engine", "robot.plan")}
    assert identity_of(_parts(root)) != identity_of(_parts(root, "robot"))
    assert identity_of(_parts(root)) == identity_of(reversed(_parts(root)))


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("nets/toy.data", ["external-data nets/toy.data was changed"]),
        ("pre/scale.py", ["module pre/scale.py was changed", "preprocess pre.steps:read was changed"]),
        ("score.py", ["module score.py was changed", "task score:each was changed"]),
        ("plugin.so", ["plugin plugin.so was changed"]),
        ("saved.npz", ["reference saved.npz was changed"]),
        ("other.onnx", ["deployed other.onnx was changed"]),
    ],
)
def test_a_change_of_any_part_changes_the_identity(root: Path, file: str, changed: list[str]) -> None:
    """Other bytes in a part give another identity, and the changed part is named."""
    before = _parts(root)
    with (root / file).open("ab") as stream:
        stream.write(b"\x12\0" if file.endswith(".onnx") else b"#")  # an empty producer name is valid ONNX
    assert identity_of(_parts(root)) != identity_of(before)
    assert changes(before, _parts(root)) == changed


def test_a_renamed_part_is_a_change(root: Path) -> None:
    """Changes name each part that was added or is gone; another function of the same file is another part."""
    before = _parts(root)
    toml = root / "hil.toml"
    toml.write_text(
        toml.read_text().replace("pre.steps:read", "pre.steps:write").replace('reference = "saved.npz"', "")
    )
    assert changes(before, _parts(root)) == [
        "preprocess pre.steps:read is gone",
        "preprocess pre.steps:write was added",
        "reference saved.npz is gone",
    ]


@pytest.mark.parametrize(("file", "depends"), [("pre/scale.py", True), ("score.py", False), ("train.py", False)])
def test_calibration_depends_on_preprocessing_only(root: Path, file: str, *, depends: bool) -> None:
    """The data's digest, and so the keys of calibration and reference, covers the modules that prepare samples."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "pre"]:
        del sys.modules[name]  # imported from the folder of the previous case

    def key() -> tuple[str, dict[str, object]]:
        config = load(root / "hil.toml")
        spec = config.spec.models["toy"]
        assert spec.calibration is not None
        path = config.resolve(spec.path)
        data = open_dataset(
            spec.data,
            config=config,
            model="toy",
            signature=read_signature(path),
            preprocess=spec.preprocess,
            ranges={},
            where="hil.toml:1",
        )
        return data.digest, key_parts(path, data, spec.calibration)

    before = key()
    (root / file).write_text((root / file).read_text() + "\n# changes no sample\n")
    after = key()
    assert (before[0] != after[0], before[1] != after[1]) == (depends, depends)
