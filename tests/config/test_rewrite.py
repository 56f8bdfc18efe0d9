"""Writing one key into a config: nothing else changes, and what cannot be written safely is not written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.config.rewrite import with_strings
from hil.config.toml_text import parse

TABLE = ("models", "m", "calibration")
TEXT = """# the arm
[models.m]  # a model
path = "m.onnx"

[models.m.calibration] # of the day
data = "c.npz"  # 256 samples
method = "minmax"

# the other one
[models.n.calibration]
exclude_nodes = ["n"]
"""


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=12), max_size=12))
def test_any_names_are_written_as_they_are(names: list[str]) -> None:
    """Each name comes out of the written file as it went in, and every other value is unchanged."""
    written = with_strings(TEXT, TABLE, "exclude_nodes", names)
    assert written is not None
    parsed = parse(written, "hil.toml")
    assert parsed["models"]["m"]["calibration"].pop("exclude_nodes") == tuple(names)
    assert parsed == parse(TEXT, "hil.toml")


def test_only_the_key_is_changed() -> None:
    """Comments and order stay, and the key is at the end of its own table."""
    written = with_strings(TEXT, TABLE, "exclude_nodes", ["a", "b"])
    assert written == TEXT.replace('"minmax"\n', '"minmax"\nexclude_nodes = ["a", "b"]\n')


@pytest.mark.parametrize(
    "present", ['exclude_nodes = ["x"]  # old', 'exclude_nodes = [\n  "x",  # [1]\n  "y",\n]', "exclude_nodes=[]"]
)
def test_a_present_value_is_replaced(present: str) -> None:
    """The present value is replaced, however many lines it has."""
    text = TEXT.replace('method = "minmax"', present)
    written = with_strings(text, TABLE, "exclude_nodes", ["a"])
    assert written == TEXT.replace('method = "minmax"', 'exclude_nodes = ["a"]')


@pytest.mark.parametrize(
    "text",
    [
        '[models.m]\ncalibration = { data = "c.npz" }\n',
        '[models.m]\ncalibration.data = "c.npz"\n',
        "[models.m]\npath = 1\n",
        "",
    ],
)
def test_without_a_table_of_its_own_nothing_is_written(text: str) -> None:
    """An inline table, dotted keys or a missing table are not changed."""
    assert with_strings(text, TABLE, "exclude_nodes", ["a"]) is None


def test_a_header_in_a_text_is_not_a_table() -> None:
    """A line inside a text that looks like the table's header is not changed."""
    text = "about = '''\n[models.m.calibration]\ndata = 1\n'''\n[models.m.calibration]\ndata = \"c\"\n"
    assert with_strings(text, TABLE, "exclude_nodes", ["a"]) is None
