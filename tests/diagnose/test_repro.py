from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.parity.engines import in_fp16
from hil.diagnose import repro
from hil.diagnose.bisect import diagnose
from hil.errors import UserError
from hil.session.diagnosing import Examined
from tests.diagnose.graphs import feeds, net, with_constant
from tests.diagnose.test_bisect import fusing, narrow, one_weight

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from hil.diagnose.running import Runner


def bundle(folder: Path, model: onnx.ModelProto, suspect: onnx.ModelProto, precision: str, *runner: Runner) -> Path:
    """The bundle of a failure."""
    found = Examined(diagnose(model, suspect, feeds(), precision, *runner), model, suspect, feeds())
    return repro.write(folder / "repro" / "net", found, {"cpu": "test"}, "failed: output 'logits' is off")


def replayed(folder: Path) -> subprocess.CompletedProcess[str]:
    """The script in a fresh process that knows nothing of this library."""
    order = [sys.executable, "-I", "-c", ISOLATED, str(folder / "repro.py")]
    return subprocess.run(order, cwd=folder.parent, capture_output=True, text=True, check=False)


ISOLATED = """
import runpy, sys

class Barred:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"hil", "onnx", "pytest"}:
            raise ImportError(name)

sys.meta_path.insert(0, Barred())
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def test_a_fault_of_the_graph_shows_in_a_fresh_process(tmp_path: Path) -> None:
    """With numpy and ONNX Runtime alone the script shows the node, the same error, and that the graph is at fault."""
    model = net(tmp_path)
    ran = replayed(bundle(tmp_path, model, with_constant(model, "kernel", one_weight), "fp32"))
    assert ran.returncode == 0, ran.stderr
    assert "failed: output 'logits' is off" in ran.stdout
    assert "conv (Conv, 1 of 5): weights differ" in ran.stdout
    assert "shown: the same graph gives the same failure" in ran.stdout


def test_a_fault_of_the_runtime_is_not_shown_and_that_is_said(tmp_path: Path) -> None:
    """What only the target's runtime does cannot be seen on a laptop: exit code 3 and the reason."""
    model = net(tmp_path)
    ran = replayed(bundle(tmp_path, model, model, "fp32", fusing))
    assert ran.returncode == 3, ran.stderr
    assert "not shown" in ran.stdout
    assert "target" in ran.stdout


def test_an_overflow_follows_from_the_reference(tmp_path: Path) -> None:
    """FP16's overflow shows on a CPU that has no FP16: the reference's values are beyond its end."""
    model = with_constant(net(tmp_path), "kernel", lambda a: a * 1e5)
    ran = replayed(bundle(tmp_path, model, in_fp16(model), "fp16"))
    assert ran.returncode == 0, ran.stderr
    assert "where FP16 ends" in ran.stdout


def test_an_overflow_inside_the_engine_alone_shows_too(tmp_path: Path) -> None:
    """Where only the whole engine keeps the tensor in FP16, the bundle has that node and its reference's values."""
    model = with_constant(net(tmp_path), "kernel", lambda a: a * 1e5)
    ran = replayed(bundle(tmp_path, model, model, "fp16", narrow))
    assert ran.returncode == 0, ran.stderr
    assert "where FP16 ends" in ran.stdout


def test_the_bundle_has_what_is_needed_and_no_pickle(tmp_path: Path) -> None:
    """Models, inputs, both sides' outputs and the environment; every array reads without pickle."""
    model = net(tmp_path)
    folder = bundle(tmp_path, model, with_constant(model, "kernel", one_weight), "fp32")
    index = json.loads((folder / "environment.json").read_text())
    assert index["diagnosis"]["culprits"][0]["seen"]["node"]["name"] == "conv"
    assert index["host"]["onnxruntime"]
    for side in ("whole", "part"):
        assert (folder / index[side]["engine"]).is_file()
        assert (folder / index[side]["reference"]).is_file()
    saved = list(folder.glob("*.npz"))
    assert saved
    for path in saved:
        with np.load(path, allow_pickle=False) as arrays:
            assert arrays.files
            for name in arrays.files:
                assert arrays[name].size
    assert not list(folder.parent.glob(".making-*"))


def test_a_bundle_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    """What an earlier failure left behind is not mistaken for this one's."""
    model = net(tmp_path)
    old = tmp_path / "repro" / "net" / "old.onnx"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    bundle(tmp_path, model, with_constant(model, "kernel", one_weight), "fp32")
    assert not old.exists()


def test_a_folder_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    """A file in the way of the folder is the user's to mend."""
    (tmp_path / "repro").write_text("in the way")
    model = net(tmp_path)
    with pytest.raises(UserError, match="cannot be written"):
        bundle(tmp_path, model, with_constant(model, "kernel", one_weight), "fp32")
