"""The precision claimed for a file is compared with what the file declares: wrong claims fail, right claims pass."""

from __future__ import annotations

import pytest

from benchmarks.precision.networks import SOUND
from benchmarks.precision.wrong import WRONG
from hil.checks.claims import claim, faults
from hil.onnx_files.precisions import Precisions
from hil.onnx_files.quantized_graph import precisions_of
from hil.results import Verdict


@pytest.mark.parametrize("name", SOUND)
def test_a_right_claim_is_not_accused(name: str) -> None:
    """A correct claim passes, and the reason has the shares, labelled as declared."""
    precision, network = SOUND[name]
    judged = claim(precisions_of(network.model()), precision)
    assert judged.verdict is Verdict.PASSED
    assert judged.reason.startswith("declared: ")


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_claim_is_found(name: str) -> None:
    """A wrong claim fails, and the reason names the mistake."""
    precision, network, words = WRONG[name]
    judged = claim(precisions_of(network.model()), precision)
    assert judged.verdict is Verdict.FAILED
    assert words in judged.reason


@pytest.mark.parametrize("precision", ["int8", "fp8", "fp4", "int4", "fp16"])
def test_nothing_is_no_claim(precision: str) -> None:
    """A file without products fails under any claim."""
    assert claim(Precisions(), precision).verdict is Verdict.FAILED


def test_runtimes_without_tensorrt_take_other_schemes() -> None:
    """Outside TensorRT, INT8 with a zero point is a right claim of int8, but never a claim of fp8."""
    _, network, _ = WRONG["int8 with a zero point"]
    declared = precisions_of(network.model())
    assert not list(faults(declared, "int8", symmetric=False))
    assert list(faults(declared, "fp8", symmetric=False))
