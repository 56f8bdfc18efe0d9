"""Write ``hil.toml``: a new file, or tables at the end of an existing one, whose text stays as it is."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from hil.config.load import load
from hil.config.toml_text import parse, read_text
from hil.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

BOM = b"\xef\xbb\xbf"


def existing_models(path: Path) -> dict[str, str]:
    """Return the ``path`` of each model in an existing ``hil.toml``, by name; empty if there is no such file.

    Raise ``UserError`` if it cannot be read or is not TOML.
    """
    if not os.path.lexists(path):
        return {}
    models = parse(read_text(path)[0], path.name).get("models")
    tables = models if isinstance(models, dict) else {}
    return {name: str(table.get("path", "")) if isinstance(table, dict) else "" for name, table in tables.items()}


def extended(old: bytes, tables: str) -> bytes:
    """Return ``old`` with ``tables`` at its end, after a blank line and with the line ends of ``old``."""
    newline = b"\r\n" if b"\r\n" in old else b"\n"
    body = old.removeprefix(BOM)
    gap = b"" if not body.strip() else newline if body.endswith(b"\n") else newline * 2
    return old + gap + tables.encode().replace(b"\n", newline)


def add_tables(path: Path, tables: str, names: Collection[str]) -> None:
    """Append ``tables``, which describe the models ``names``, to an existing file.

    Raise ``UserError``, and change nothing, if the result would be invalid or other values would change.
    """
    text, old = read_text(path)
    before = parse(text, path.name)
    new = extended(old, tables)
    try:
        after = parse(new.decode("utf-8-sig"), path.name)
    except UserError as error:
        raise UserError(f"{path}: no table can be added ({error}): write each model as a table [models.NAME]") from None
    if not isinstance(after.get("models"), dict):
        raise UserError(f"{path}: no table can be added: write each model as a table [models.NAME]")
    models = {name: table for name, table in after["models"].items() if name not in names}
    if {**after, "models": models} != {"models": {}, **before}:
        raise UserError(f"{path}: adding a model would change other values: end the file with a complete table")
    write_checked(path, new, expected=old)


def write_checked(path: Path, content: bytes, *, expected: bytes | None = None) -> None:
    """Write ``content`` atomically, after a check that it is a valid ``hil.toml`` for the folder of ``path``.

    If ``path`` is a link, the file that it names is replaced. The permissions of an existing file are kept. Raise
    ``UserError``, and leave ``path`` unchanged, if ``content`` is not valid, if the file cannot be written, or if
    ``expected`` is given and the file no longer has these bytes.
    """
    file = path.resolve()
    try:
        with _partial(path) as partial:  # paths in the content are relative to the folder of the link
            partial.write_bytes(content)
            _check(partial, path)
        with _partial(file) as partial:
            partial.write_bytes(content)
            with contextlib.suppress(FileNotFoundError):
                partial.chmod(file.stat().st_mode & 0o777)
            if expected is not None and file.read_bytes() != expected:
                raise UserError(f"{path} was changed meanwhile, and nothing was written: run again")
            partial.replace(file)
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"cannot write {path} ({why}): name another file with --output FILE") from None


@contextlib.contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file, not yet created, in the folder of ``path``; remove the file at the end."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield partial
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _check(partial: Path, path: Path) -> None:
    """Load the new text from ``partial``. Raise ``UserError`` for its mistakes; the message names ``path``."""
    try:
        load(partial, own=False)
    except UserError as error:
        raise UserError(*str(error).replace(partial.name, path.name).split("\n")) from None
