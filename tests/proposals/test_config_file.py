"""Models are added to a ``hil.toml`` without a change of its text; nothing is half-written."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hil.config.load import load
from hil.errors import UserError
from hil.proposals.config_file import BOM, add_tables, existing_models, extended, write_checked

if TYPE_CHECKING:
    from pathlib import Path

TABLE = '[models.new]\npath = "m.onnx"\ndata = "synthetic"\n'
MINE = '# mine\n[models."a b"]  # kept\npath = "m.onnx" # x\ndata="synthetic"'
LINE = st.one_of(
    st.sampled_from(
        ["", "# a comment", "   ", "\t# [models.new]", "# \ufeff ü 🤖", "[gate]", "[project]", "warnings=true"]
    ),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20).map("# ".__add__),
)


def mine(folder: Path, text: str | bytes) -> Path:
    """Write an existing config of a user, and an empty model."""
    (folder / "m.onnx").touch()
    path = folder / "hil.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("end", ["", "\n", "\n\n\n", "\n# last comment", "\n[gate]\nwarnings = true", "\n\t "])
@pytest.mark.parametrize("start", [b"", BOM])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_the_text_of_the_user_stays(tmp_path: Path, start: bytes, end: str, newline: str) -> None:
    """The bytes of the file come first, unchanged; the new tables have its line ends, and its models stay."""
    old = start + (MINE.replace('"a b"', "mine") + end).replace("\n", newline).encode()
    path = mine(tmp_path, old)
    path.chmod(0o640)
    add_tables(path, TABLE, ["new"])
    new = path.read_bytes()
    assert new.startswith(old)
    assert b"\n" not in new.replace(b"\r\n", b"") or newline == "\n"
    assert set(load(path).spec.models) == {"mine", "new"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(one.name for one in tmp_path.iterdir()) == ["hil.toml", "m.onnx"]


@given(st.lists(LINE, max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_any_text_stays(lines: list[str], newline: str) -> None:
    """Whatever the file has, its bytes are the beginning of the new file's."""
    old = newline.join(lines).encode()
    new = extended(old, TABLE)
    assert new.startswith(old)
    assert new.endswith(TABLE.replace("\n", "\r\n" if b"\r\n" in old else "\n").encode())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("models = {mine = {path = 'm.onnx', data = 'synthetic'}}\n", "no table can be added"),
        ("[[models]]\npath = 'm.onnx'\n", "no table can be added"),
        (MINE.replace('"a b"', "new"), "no table can be added"),
        ("models.new.data = 'synthetic'\n", "no table can be added"),
        ("[models.mine]\npath = 'absent.onnx'\ndata = 'synthetic'\n", "hil.toml:2: models.mine.path: no such file"),
        ("[gate]\nwarning = true\n", "hil.toml:2: gate.warning: unknown key"),
        ("not toml", "not TOML"),
        ('x = """\n', "not TOML"),
    ],
)
def test_a_file_that_cannot_be_extended_stays(tmp_path: Path, text: str, words: str) -> None:
    """If the result would not be valid, one message states why, and no byte is changed."""
    path = mine(tmp_path, text)
    with pytest.raises(UserError, match=words.replace(".", "[.]")) as caught:
        add_tables(path, TABLE, ["new"])
    assert ".hil.toml." not in str(caught.value)
    assert path.read_text() == text
    assert sorted(one.name for one in tmp_path.iterdir()) == ["hil.toml", "m.onnx"]


def test_a_file_without_models_gets_its_first(tmp_path: Path) -> None:
    """A file without models becomes a valid config. A link stays a link, and paths are relative to its folder."""
    path = mine(tmp_path, "# only a comment\n[project]\nreport = 'r'\n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/m.onnx").touch()
    (tmp_path / "m.onnx").unlink()
    link = tmp_path / "elsewhere/link.toml"
    link.symlink_to(path)
    add_tables(link, TABLE, ["new"])
    assert link.is_symlink()
    assert load(link).spec.project.report == "r"
    assert existing_models(link) == {"new": "m.onnx"}
    assert existing_models(tmp_path / "absent.toml") == {}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=3)
@given(st.sampled_from([b"x", b"[gate]\n", b"[models.new]\n"]))
def test_an_invalid_or_outdated_text_is_not_written(tmp_path: Path, content: bytes) -> None:
    """Neither an invalid file nor one that was changed meanwhile is replaced."""
    path = mine(tmp_path, "mine")
    with pytest.raises(UserError):
        write_checked(path, content)
    with pytest.raises(UserError, match="changed meanwhile"):
        write_checked(path, TABLE.encode(), expected=b"other")
    assert path.read_text() == "mine"
