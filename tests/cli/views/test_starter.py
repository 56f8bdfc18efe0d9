"""A starter config is valid TOML for any names, and values that are not known appear only in comments."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.cli.views.starter import model_name, model_table, starter, toml_value
from hil.config.load import load
from hil.config.models import InputSpec
from hil.onnx_files.signature import Signature
from hil.proposals.families import FAMILIES, Recognized
from hil.proposals.observed import Observed
from hil.proposals.search import Proposal
from tests.datasets.project import spec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
VALUES = st.recursive(
    st.one_of(NAMES, st.integers(-(2**62), 2**62), st.booleans(), st.floats(allow_nan=False, allow_infinity=False)),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


def proposal(name: str, dimension: str, family: Recognized | None = None) -> Proposal:
    """Return a proposal for a model with two inputs of these names, one of them a state."""
    inputs = (spec(name, "float32", "batch", dimension), spec(f"{name}0", "float32", "batch", 2))
    return Proposal(
        signature=Signature(inputs, (spec("y", "float32", "batch", 2),), sizes={dimension: (3, 3, 3)}),
        inputs={name: InputSpec(shape=("batch", 3), multiple_of=(1, 3), range=(0.0, 1e-9))},
        shapes={dimension: (3, 3, 3)},
        guessed=(("inputs", name, "shape"), ("shapes", dimension)),
        observed=Observed({}, {}, {}),
        family=family,
        takes_batches=False,
        drawn="node 'n' (RandomNormal) draws random numbers",
        carried={name: dimension, f"{name}0": name},
    )


@pytest.mark.parametrize("layout", ["", "channels-first", "end-to-end"])
@given(
    stem=NAMES,
    name=NAMES,
    dimension=NAMES,
    nodes=st.lists(NAMES, max_size=2).map(tuple),
    family=st.sampled_from(FAMILIES),
)
def test_any_names_make_a_config(
    tmp_path_factory: pytest.TempPathFactory,
    layout: str,
    stem: str,
    name: str,
    dimension: str,
    nodes: tuple[str, ...],
    family: object,
) -> None:
    """Any names of files, inputs, dimensions and nodes survive as valid TOML, also twice in one file."""
    found = proposal(name, dimension, Recognized(family, layout, nodes))  # type: ignore[arg-type] # of FAMILIES
    first = model_name(Path("f") / stem)
    second = model_name(Path("f") / stem, {first})
    root = tmp_path_factory.mktemp("starter")
    text = starter([model_table(found, "m.onnx", first), model_table(found, "m.onnx", second)])
    (root / "hil.toml").write_bytes(text.encode())
    (root / "m.onnx").touch()
    models = load(root / "hil.toml").spec.models
    assert list(models) == [first, second]
    for model in models.values():
        assert model.shapes == {dimension: (3, 3, 3)}
        assert set(model.inputs) == {name}
        assert (model.task, model.detection, model.calibration, model.inputs[name].carry) == (None,) * 4
        assert len(model.guessed) == 2


@given(VALUES)
def test_any_value_can_be_written(value: object) -> None:
    """Texts, numbers and arrays survive a round trip through TOML."""
    assert tomllib.loads(f"value = {toml_value(value)}")["value"] == value


@given(st.lists(NAMES, max_size=6))
def test_names_are_unique(stems: list[str]) -> None:
    """Models with the same file name get different names of at most the allowed length."""
    used: list[str] = []
    for stem in [*stems, *stems, "x" * 200, "x" * 200]:
        used.append(model_name(Path("f") / stem, used))
    assert len(set(used)) == len(used)
    assert all(1 <= len(name) <= 100 for name in used)


@pytest.mark.parametrize(
    ("family", "layout", "shapes", "expected"),
    [
        ("classifier", "", {"y": (1, 10)}, {"y": {"kind": "classification"}}),
        ("segmentation model", "", {"mask": (1, 2, 8, 8), "z": (1, 4)}, {"mask": {"kind": "segmentation"}}),
        ("text recognizer", "", {"t": (1, 24, 97)}, {"t": {"kind": "ctc"}}),
        (
            "detector",
            "boxes-scores",
            {"b": (1, 90, 4), "s": (1, 90, 3)},
            {
                "b": {"kind": "detection"},
                "s": {"kind": "detection"},
            },
        ),
        ("model of audio or other signals", "", {"y": (1, 2)}, {"y": {"kind": "regression"}}),
    ],
)
def test_the_kind_of_an_output_is_a_comment(
    family: str, layout: str, shapes: dict[str, tuple[int, ...]], expected: dict[str, object]
) -> None:
    """The kinds of a family's outputs are proposed as comments, which are valid tables without the comment signs."""
    one = next(each for each in FAMILIES if each.name == family)
    text = model_table(
        replace(proposal("x", "n", Recognized(one, layout, ())), observed=Observed({}, {}, shapes)), "m.onnx", "m"
    )
    assert "outputs" not in tomllib.loads(text)["models"]["m"]
    lines = text.split("# What an output means")[1].splitlines()[1:]
    tables = "\n".join(line.removeprefix("# ") for line in lines[: lines.index("")])
    assert tomllib.loads(tables)["models"]["m"]["outputs"] == expected


def test_a_kind_that_a_run_would_refuse_is_not_proposed() -> None:
    """A kind of output is proposed only if the declared rank is that of a trial run; else the choice is shown."""
    one = next(each for each in FAMILIES if each.name == "text recognizer")
    found = replace(proposal("x", "n", Recognized(one, "", ())), observed=Observed({}, {}, {"y": (1, 24, 97)}))
    for shape in ((1, "length", 97), (1, "length")):
        signature = replace(found.signature, outputs=(spec("y", "float32", *shape),))
        text = model_table(replace(found, signature=signature), "m.onnx", "m")
        assert ('# kind = "ctc"' in text) == (len(shape) == 3)


@pytest.mark.parametrize(("dtype", "shown"), [("uint8", "# x = [0, 255]"), ("float32", "# x = [0.0, 1.0]")])
def test_the_range_in_the_comment_is_the_default(dtype: str, shown: str) -> None:
    """Uncommented, the range of random inputs changes nothing."""
    signature = Signature((spec("x", dtype, "batch", 8, 8, 3),), ())
    found = replace(proposal("x", "n"), signature=signature, inputs={}, shapes={}, guessed=(), carried={})
    assert shown in model_table(found, "m.onnx", "m").splitlines()
