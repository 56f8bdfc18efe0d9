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
from hil.diagnose.replay import NOT_SHOWN, SHOWN, report_outcome
from hil.errors import UserError
from hil.session.diagnosing import Examined
from tests.diagnose.graphs import feeds, net, with_constant
from tests.diagnose.test_bisect import fusing, narrow, one_weight

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from hil.diagnose.running import Runner


def bundle(folder: Path, model: onnx.ModelProto, suspect: onnx.ModelProto, precision: str, *runner: Runner) -> Path:
    """Diagnose ``suspect`` and write its bundle."""
    examined = Examined(diagnose(model, suspect, feeds(), precision, *runner), model, suspect, feeds())
    return repro.write(folder / "repro" / "net", examined, {"cpu": "test"}, "failed: output 'logits' is off")


def run_script(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the script in a fresh process in which this library cannot be imported."""
    command = [sys.executable, "-I", "-c", ISOLATED, str(folder / "repro.py")]
    return subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, check=False)


ISOLATED = """
import runpy, sys

class Barred:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"hil", "onnx", "pytest"}:
            raise ImportError(name)

sys.meta_path.insert(0, Barred())
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def test_a_fault_of_the_graph_is_reproduced_in_a_fresh_process(tmp_path: Path) -> None:
    """With only numpy and ONNX Runtime, the script reports the node, the same error, and that the graph is at fault."""
    model = net(tmp_path)
    ran = run_script(bundle(tmp_path, model, with_constant(model, "kernel", one_weight), "fp32"))
    assert ran.returncode == 0, ran.stderr
    assert "failed: output 'logits' is off" in ran.stdout
    assert "conv (Conv, 1 of 5): weights differ" in ran.stdout
    assert "reproduced: the same graph gives the same failure" in ran.stdout


def test_a_fault_of_the_runtime_is_not_reproduced(tmp_path: Path) -> None:
    """A fault of the target's runtime does not occur on a laptop: exit code 3 and the reason."""
    model = net(tmp_path)
    ran = run_script(bundle(tmp_path, model, model, "fp32", fusing))
    assert ran.returncode == 3, ran.stderr
    assert "not reproduced" in ran.stdout
    assert "target" in ran.stdout


def test_no_error_at_all_is_not_reproduced(capsys: pytest.CaptureFixture[str]) -> None:
    """If neither this CPU nor the target has an error, nothing was reproduced; an infinite error on both is."""
    assert report_outcome(0.0, 0.0, {}) == NOT_SHOWN
    assert capsys.readouterr().out.startswith("not reproduced")
    assert report_outcome(float("inf"), float("inf"), {}) == SHOWN


def test_an_overflow_follows_from_the_reference(tmp_path: Path) -> None:
    """An FP16 overflow is proved by reference values beyond the range of FP16, even on a CPU without FP16."""
    model = with_constant(net(tmp_path), "kernel", lambda a: a * 1e5)
    ran = run_script(bundle(tmp_path, model, in_fp16(model), "fp16"))
    assert ran.returncode == 0, ran.stderr
    assert "the range of FP16" in ran.stdout


def test_an_overflow_inside_the_engine_is_reproduced(tmp_path: Path) -> None:
    """If only the whole engine holds a tensor in FP16, the bundle's script still reports the overflow."""
    model = with_constant(net(tmp_path), "kernel", lambda a: a * 1e5)
    ran = run_script(bundle(tmp_path, model, model, "fp16", narrow))
    assert ran.returncode == 0, ran.stderr
    assert "the range of FP16" in ran.stdout


def test_the_bundle_is_complete_and_has_no_pickle(tmp_path: Path) -> None:
    """The bundle has models, inputs, outputs of both sides and environment; arrays load without pickle."""
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


def test_a_bundle_replaces_an_earlier_one(tmp_path: Path) -> None:
    """No file of an earlier bundle remains in the folder."""
    model = net(tmp_path)
    old = tmp_path / "repro" / "net" / "old.onnx"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    bundle(tmp_path, model, with_constant(model, "kernel", one_weight), "fp32")
    assert not old.exists()


def test_a_folder_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    """A file in place of the folder raises ``UserError``."""
    (tmp_path / "repro").write_text("in the way")
    model = net(tmp_path)
    with pytest.raises(UserError, match="cannot be written"):
        bundle(tmp_path, model, with_constant(model, "kernel", one_weight), "fp32")
