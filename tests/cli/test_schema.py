"""``hil schema``: a JSON Schema that accepts what ``load`` accepts."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from hil.cli import main
from tests.config.example import EXAMPLE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from pathlib import Path


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """Return the JSON that ``hil schema`` prints."""
    assert main(["schema", *arguments]) == 0
    schema: dict[str, Any] = json.loads(capsys.readouterr().out)
    return schema


@pytest.mark.parametrize("arguments", [(), ("--report",)], ids=["config", "report"])
def test_the_schema_is_valid(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    """The schema is valid under draft 2020-12 and declares that draft."""
    schema = printed(capsys, *arguments)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_the_schema_accepts_the_example_and_the_bundled_config(
    capsys: pytest.CaptureFixture[str], repository: Path
) -> None:
    """A config that loads is valid under the schema; an unknown key is not."""
    validator = Draft202012Validator(printed(capsys))
    validator.validate(tomllib.loads(EXAMPLE))
    validator.validate(tomllib.loads((repository / "hil.toml").read_text()))
    assert not validator.is_valid(tomllib.loads(EXAMPLE.replace("limits]", "limts]", 1)))
