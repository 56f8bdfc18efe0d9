from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hil.config.load import load
from hil.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """[models.a]
path = "model.onnx"
data = "package.module:callable"
[targets.b.container]
engine = "docker"
"""


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            'image = "--privileged"',
            r"hil\.toml:6: targets\.b\.container\.image: '--privileged' is not an image reference",
        ),
        ('image = "a"\npython = "-c"', r"hil\.toml:7: targets\.b\.container\.python: '-c' is not an interpreter"),
        ('image = "a"\nargs = "-v"', r"hil\.toml:7: targets\.b\.container\.args: "),
        ("", r"targets\.b\.container\.image"),
    ],
)
def test_an_impossible_container_is_a_mistake_of_the_config(tmp_path: Path, keys: str, message: str) -> None:
    """An invalid container table is reported with its line when the config is loaded."""
    (tmp_path / "model.onnx").touch()
    (tmp_path / "hil.toml").write_text(TEXT + keys)
    with pytest.raises(UserError, match=message):
        load(tmp_path / "hil.toml")
