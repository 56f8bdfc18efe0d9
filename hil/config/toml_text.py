"""Parse the bytes of ``hil.toml``: check its encoding, its size and the TOML syntax."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from hil.errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from pathlib import Path

MAX_SIZE = 2**20
"""The maximum size of a config file in bytes."""

MAX_DOTS = 64
"""The maximum number of dots outside of strings on one line: parsing a dotted key takes quadratic time."""

QUOTED = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'")
AT_LINE = re.compile(r"\s*\(at line (\d+), column (\d+)\)$")


def read_text(path: Path) -> tuple[str, bytes]:
    """Return the file's text and bytes. Raise ``UserError`` if it cannot be read, is too large or is not UTF-8."""
    if path.is_dir():
        raise UserError(f"{path} is a folder: name the hil.toml inside it")
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_SIZE + 1)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        advice = "write one with: hil init MODEL.onnx" if missing else "check its path and its permissions"
        raise UserError(f"cannot read {path} ({error.strerror}): {advice}") from None
    if len(data) > MAX_SIZE:
        raise UserError(f"{path} is over {MAX_SIZE >> 20} MiB, so it is not a config: check the path")
    try:
        return data.decode("utf-8-sig"), data
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path.name}:{line}: not UTF-8 text: save the file as UTF-8") from None


def parse(text: str, name: str) -> dict[str, Any]:
    """Return TOML text as plain values, arrays as tuples.

    Raise ``UserError`` if the text is not TOML, has a line with more than ``MAX_DOTS`` dots, or is nested too deeply.
    The message has ``name``, the file's name, and usually the line.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > MAX_DOTS and QUOTED.sub("", line).count(".") > MAX_DOTS:
            raise UserError(f"{name}:{number}: more than {MAX_DOTS} dots: break the line")
    try:
        values: dict[str, Any] = tomllib.loads(text)
        return {key: _frozen(value) for key, value in values.items()}
    except RecursionError:
        raise UserError(f"{name}: nested too deeply: write tables instead of nested arrays") from None
    except ValueError as error:
        message = str(error)
        match = AT_LINE.search(message)
        line, message = (match[1], message[: match.start()]) if match else (str(text.count("\n") + 1), message)
        message = message.removesuffix(" (at end of document)")
        raise UserError(f"{name}:{line}: not TOML ({message}): fix the syntax, see https://toml.io") from None


def _frozen(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    return value
