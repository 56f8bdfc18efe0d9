"""Each kind of fault is found, and nothing is found in the same model without it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hil.lint import Finding, examine
from hil.lint.machine import machine_named
from tests.lint.made import MADE, Made

if TYPE_CHECKING:
    import onnx

EXAMPLES = sorted((Path(__file__).parent.parent.parent / "examples").rglob("*.onnx"))


def findings(model: onnx.ModelProto | None, path: Path, module: str | None, jetpack: str | None) -> tuple[Finding, ...]:
    """Return the findings on the model, without TensorRT-RTX's parser."""
    if model is not None:
        path.write_bytes(model.SerializeToString())
    return examine(path, machine_named(module, jetpack), parser=False).findings


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_each_fault_is_found(made: Made, tmp_path: Path) -> None:
    """The fault is reported once, by its rule, with its level and a fix; nothing else is reported."""
    path = tmp_path / "m.onnx"
    everything = findings(made.broken(path), path, made.module, made.jetpack)
    reported = [one for one in everything if one.rule not in made.also]
    assert [(one.rule, one.level) for one in reported] == [(made.rule, made.level)], [str(one) for one in reported]
    assert made.says in str(reported[0])
    assert reported[0].fix
    assert "\n" not in str(reported[0])


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_nothing_is_found_without_the_fault(made: Made, tmp_path: Path) -> None:
    """The same model without the fault has no finding."""
    path = tmp_path / "m.onnx"
    assert not findings(made.sound(path), path, made.module, made.jetpack)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
@pytest.mark.parametrize("machine", [(None, None), ("agx-orin-64gb", "6.2"), ("thor-t5000", "7.2")])
def test_nothing_is_found_in_the_examples(path: Path, machine: tuple[str | None, str | None]) -> None:
    """The bundled models have no finding on any machine."""
    assert not findings(None, path, *machine)
