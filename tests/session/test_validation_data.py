"""Dimensions of one name are separated where data or declared sizes differ and the reference accepts that."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hil.config.load import load
from hil.errors import UserError
from hil.plan import expand
from hil.results import Verdict
from hil.session import Request, Session
from hil.session.preflight import preflight
from hil.session.validation_data import open_validation
from tests.proposals import networks

if TYPE_CHECKING:
    from pathlib import Path

    from hil.config.load import Config

DATA = {"a": (8,), "b": (4,)}
SUM = """network (float[batch, n] a, float[batch, n] b) => (float[batch, n] y) { y = Add (a, b) }"""
APART = """network (float[batch, n] a, float[batch, n] b) => (float[batch, n] y, float[batch, n] z) {
    y = Neg (a)
    z = Neg (b)
}"""
SIZES = "\n[models.m.inputs.a]\nshape = ['batch', 8]\n[models.m.inputs.b]\nshape = ['batch', 4]\n"


def project(root: Path, text: str, lines: str = "", shapes: dict[str, tuple[int, ...]] | None = None) -> Config:
    """Write a model, eight samples of these shapes and ``hil.toml`` with more ``lines``."""
    networks.save(root / "m.onnx", text)
    random = np.random.default_rng(0)
    arrays = {name: random.normal(size=(8, *shape)).astype(np.float32) for name, shape in (shapes or DATA).items()}
    np.savez(root / "data.npz", **arrays)  # type: ignore[arg-type]  # no array is named allow_pickle
    head = "[targets.gpu]\nruntime = 'tensorrt'\n[models.m]\npath = 'm.onnx'\ndata = 'data.npz'\n"
    (root / "hil.toml").write_text(head + lines, encoding="utf-8")
    return load(root / "hil.toml")


def test_data_separates_what_the_reference_takes(tmp_path: Path) -> None:
    """If the reference accepts sizes that differ in the data, the signature's row states the separation once."""
    config = project(tmp_path, APART)
    request = Request(config, "cpu", "fail", 0.0, "one", tmp_path / "report", lambda _: None)
    with closing(Session.open(request)) as session:
        signature = session.signature("m")
        for check in ("contract.signature", "contract.shapes", "parity.outputs"):
            result = session.judge(expand(config, "cpu").of(check)[0]).result
            assert result.verdict is Verdict.PASSED, result.reason
            sizes = "dimension 'n' has size 4 on axis 1 of input 'b', but 8 on axis 1 of 'a'"
            stated = f"{sizes}: axis 1 of 'b' is now named 'b[1]'"
            assert (stated in result.reason) == (check == "contract.signature")
    assert [one.shape for one in signature.inputs] == [("batch", "n"), ("batch", "b[1]")]
    assert [one.shape for one in signature.outputs] == [("batch", None)] * 2


def test_declared_sizes_separate_what_the_reference_takes(tmp_path: Path) -> None:
    """If two sizes are declared for one name and the reference accepts them, the dimensions get separate names."""
    signature, _ = open_validation(project(tmp_path, APART, SIZES), "cpu", "m")
    assert (signature.sizes["n"], signature.sizes["b[1]"]) == ((8, 8, 8), (4, 4, 4))
    assert "axis 1 is now named 'b[1]'" in signature.separated[0]


def test_names_that_the_reference_needs_stay_equal(tmp_path: Path) -> None:
    """If the reference refuses the sizes that differ, nothing is separated, and the message has the sizes."""
    with pytest.raises(UserError, match=r"has 4 on axis 1 of 'b', and 8 .*\n.*\nshape = \[\"batch\", \"b\[1\]\"\]"):
        preflight(project(tmp_path, SUM), "cpu")
    with pytest.raises(UserError, match=r"inputs.b.shape has 4 for 'n', but \[8, 8, 8\] is declared"):
        preflight(project(tmp_path, SUM, SIZES), "cpu")


def test_without_a_reference_run_nothing_is_separated(tmp_path: Path) -> None:
    """With saved reference outputs, nothing is separated."""
    with pytest.raises(UserError, match="make both equal in the data"):
        preflight(project(tmp_path, APART, "reference = 'data.npz'\n"), "cpu")


def test_names_that_nothing_refutes_stay_equal(tmp_path: Path) -> None:
    """Names with equal sizes in the data stay equal."""
    signature, _ = open_validation(project(tmp_path, APART, shapes={"a": (8,), "b": (8,)}), "cpu", "m")
    assert (signature.inputs[1].shape, signature.separated) == (("batch", "n"), ())


def test_a_batch_is_no_size_of_another_axis(tmp_path: Path) -> None:
    """A batch dimension is separated from other axes of its name, even if these have one size."""
    text = "network (float[D, 3, D, D] x) => (float[D, 3, D, D] y) { y = Neg (x) }"
    config = project(tmp_path, text, "[models.m.inputs.x]\nbatch_axis = 0\n", {"x": (3, 5, 5)})
    signature, _ = open_validation(config, "cpu", "m")
    assert signature.inputs[0].shape == ("D", 3, "x[2]", "x[3]")
    assert signature.batch_names() == {"D"}


def test_a_separated_dimension_has_sizes_for_tensorrt(tmp_path: Path) -> None:
    """A separated dimension keeps declared sizes that fit; otherwise the message has the lines to write."""
    fits = project(tmp_path, APART, "[models.m.shapes]\nn = [4, 8, 8]\n")
    preflight(fits, "gpu")
    assert open_validation(fits, "gpu", "m")[0].sizes["b[1]"] == (4, 8, 8)
    lines = "[models.m.shapes]\nn = [8, 8, 8]\n"
    with pytest.raises(UserError, match=r'\n"b\[1\]" = \[1, 1, 1\]'):
        preflight(project(tmp_path, APART, lines), "gpu")
    preflight(project(tmp_path, APART, lines + '"b[1]" = [4, 4, 4]\n'), "gpu")


def test_samples_of_a_folder_separate_names_too(tmp_path: Path) -> None:
    """Names are also separated if the sizes differ in samples that are read from the files of a folder."""
    project(tmp_path, APART)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "1.bin").write_bytes(b"1")
    code = (
        "import numpy as np\n\ndef prep(path):\n    return {'a': np.ones(8, 'float32'), 'b': np.ones(4, 'float32')}\n"
    )
    (tmp_path / "unequal_prep.py").write_text(code + "\nSIZES = (('a', 8), ('b', 4))\n")
    text = (tmp_path / "hil.toml").read_text().replace("'data.npz'", "'own'\npreprocess = 'unequal_prep:prep'")
    (tmp_path / "hil.toml").write_text(text)
    config = load(tmp_path / "hil.toml")
    assert open_validation(config, "cpu", "m")[0].inputs[1].shape == ("batch", "b[1]")
