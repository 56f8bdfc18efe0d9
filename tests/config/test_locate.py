"""``Lines``: the line of every key, compared with tomllib's parse of the same text."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.config.locate import Lines

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = st.one_of(
    st.text("abc-_1", min_size=1, max_size=4),
    st.sampled_from(['"a.b"', "'c d'", '"\\u00e4"', '"#"', "'='", '""', '"[x]"']),
)
SCALARS = st.sampled_from(
    [
        *("1", "-2.5e3", "true", "nan", "1979-05-27 07:32:00", "0x1F", '"a # b"', "'[no]'", '"\\"]"', "''", '""'),
        *('"""two\nlines = 1\n"""', "'''\n[header]\n'''", '"""a ""quoted"" end"""', '""""""', "''''''", '""""x"""""'),
        '"""\\\n  folded \\""" not yet\n"""',
    ]
)
BLANKS = st.sampled_from(["", " ", "\n", "\n# [comment] = 1\n", "  \n\n", "\r\n"])


@st.composite
def arrays(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    """Generate an array over several lines, with comments and sometimes a trailing comma."""
    items = draw(st.lists(st.tuples(BLANKS, values, BLANKS), max_size=3))
    inner = ",".join(f"{before}{value}{after}" for before, value, after in items)
    return f"[{inner}{',' if items and draw(st.sampled_from([True, False])) else ''}{draw(BLANKS)}]"


@st.composite
def inline_tables(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    """Generate an inline table whose values may span several lines."""
    names = draw(st.lists(KEYS, max_size=3))
    return "{" + ", ".join(f"{name} = {draw(values)}" for name in names) + "}"


VALUES = st.recursive(SCALARS, lambda inner: st.one_of(arrays(inner), inline_tables(inner)), max_leaves=5)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Generate text that is mostly valid TOML: headers, arrays of tables, dotted keys, all kinds of values."""
    dotted = st.lists(KEYS, min_size=1, max_size=3).map(" . ".join)
    parts = st.one_of(
        dotted.map(lambda key: f"[{key}]"),
        dotted.map(lambda key: f"[[ {key} ]] # again"),
        st.builds("{} = {}".format, dotted, VALUES),
    )
    lines = draw(st.lists(st.tuples(BLANKS, parts), max_size=8))
    return "".join(f"{blank}{part}\n" for blank, part in lines)


def paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield every key path of parsed TOML."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from paths(inner, (*path, key))


@given(documents())
def test_keys_and_lines_are_those_of_tomllib(text: str) -> None:
    """Exactly the keys that tomllib parses have a line, whatever strings and comments contain; the line has the key."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    located, lines = Lines(text), text.split("\n")
    assert located.paths() == set(paths(values))
    for path in paths(values):
        if isinstance(path[-1], str) and path[-1].isalnum() and path[-1].isascii():
            assert path[-1] in lines[located.of(path) - 1]


BY_HAND = """\
[a]
b.c = 1
d = { e = 1, f = { g = 2 } }
h = [
  1, # one
  2,
]
[[i]]
j = 1
[[i]]
j = 2
[i.k]
"l m" = \'\'\'
[x]
\'\'\'
n = 1
"""


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (("a",), 1),
        (("a", "b"), 2),
        (("a", "b", "c"), 2),
        (("a", "d", "f", "g"), 3),
        (("a", "h"), 4),
        (("a", "h", 1), 6),
        (("i", 0, "j"), 9),
        (("i", 1, "j"), 11),
        (("i", 1, "k", "l m"), 13),
        (("i", 1, "k", "n"), 16),
        (("x",), 1),
        (("a", "nothing"), 1),
    ],
)
def test_lines_counted_by_hand(keys: tuple[str | int, ...], line: int) -> None:
    """Every form of key has its line; an absent key has the line of its table."""
    assert Lines(BY_HAND).of(keys) == line
