"""``guessed``: each entry names a written key of its model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.config.checks import guess_checks
from hil.config.explain import quoted, written
from hil.config.load import load
from hil.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

KEYS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), min_size=1, max_size=4)


def project(folder: Path, guessed: str) -> Path:
    """Write a config with this array of guesses for a model with the task and one input."""
    (folder / "m.onnx").touch()
    path = folder / "hil.toml"
    path.write_text(
        f"[models.m]\npath = 'm.onnx'\ndata = 'synthetic'\ntask = 'regression'\nguessed = {guessed}\n"
        "[models.m.inputs.'a.b']\nshape = [1, 8]\n[models.other]\npath = 'm.onnx'\ndata = 'synthetic'\nbatch = 2\n"
    )
    return path


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("tusk", "this table has no key tusk"),
        ("metric", "this table has no key metric"),
        ("batch", "this table has no key batch"),  # written, but in another model's table
        ('inputs."a.b".range', "this table has no key"),
        ("inputs.a.b.shape", "this table has no key"),
        ('inputs."a.b".shape.x', "this table has no key"),
        ("inputs.'a.b'.shape", "another spelling"),
        (" task", "another spelling"),
        ("task=0 #", "another spelling"),
        ("task=0\nmetric", "is not a key"),
        ("guessed", "is not a key"),
        ("", "is not a key"),
        ("inputs..shape", "is not a key"),
    ],
)
def test_an_entry_that_names_no_written_key_is_refused(tmp_path: Path, entry: str, words: str) -> None:
    """An entry without a corresponding written key is a mistake with its line."""
    with pytest.raises(UserError, match=words) as caught:
        load(project(tmp_path, f"[{quoted(entry)}]"))
    assert str(caught.value).startswith("hil.toml:5: models.m.guessed[0]")


@pytest.mark.parametrize("guessed", ["'task'", "[1]", "['task', 'task']", "true"])
def test_only_an_array_of_different_texts_is_a_list_of_guesses(tmp_path: Path, guessed: str) -> None:
    """A value that is not an array of strings, or an entry that occurs twice, is a mistake."""
    with pytest.raises(UserError, match="guessed"):
        load(project(tmp_path, guessed))


def test_guesses_warn_until_their_entries_are_deleted(tmp_path: Path) -> None:
    """Each model with guesses causes one warning with its line; without entries there is no warning."""
    config = load(project(tmp_path, "['task', 'inputs.\"a.b\".shape']"))
    (warning,) = config.warnings
    assert warning.startswith('hil.toml:5: models.m.guessed: guessed and not confirmed: task, inputs."a.b".shape')
    assert load(project(tmp_path, "[]")).warnings == ()


@given(KEYS, st.integers(0, 3))
def test_any_written_key_can_be_listed(keys: list[str], missing: int) -> None:
    """The dotted name of any written key is accepted, and refused once a part of the key is missing."""
    table: object = "value"
    for key in reversed(keys):
        table = {key: table}
    model = {"guessed": (written(keys),), **(table if isinstance(table, dict) else {})}
    if keys[0] != "guessed":
        assert not list(guess_checks.mistakes(("models", "m"), model))
    longer = {**model, "guessed": (written([*keys, "more"]),)}
    assert list(guess_checks.mistakes(("models", "m"), longer))
    assert list(guess_checks.mistakes(("models", "m"), {"guessed": (written(keys[:missing] or ["x"]),)}))
