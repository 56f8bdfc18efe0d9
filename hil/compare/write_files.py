"""Where a comparison is written to: JSON, Markdown or HTML, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hil.errors import LabError, UserError
from hil.files.digests import THE_LAB

if TYPE_CHECKING:
    from hil.compare.schema import Document


def write(found: Document, kind: str, path: Path) -> None:
    """Writes ``path`` as ``json``, ``markdown`` or ``html``. A failure keeps the old file.

    Raises ``UserError`` or ``LabError``.
    """
    content = rendered(found, kind)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(content)
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        error_of = LabError if error.errno in THE_LAB else UserError
        what = error.strerror or str(error)
        raise error_of(f"{path}: cannot be written: {what}: name a file in a folder that is there") from None


def rendered(found: Document, kind: str) -> str:
    """The document as text of one kind."""
    if kind == "json":
        return found.model_dump_json(indent=2) + "\n"
    if kind == "markdown":
        from hil.compare.markdown import render as comment

        return comment(found)
    from hil.compare.html import render as page

    return page(found)
