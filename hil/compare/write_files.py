"""Write a comparison as JSON, Markdown or HTML; a file is replaced atomically."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hil.errors import LabError, UserError
from hil.files.digests import THE_LAB

if TYPE_CHECKING:
    from hil.compare.schema import Document


def write(document: Document, kind: str, path: Path) -> None:
    """Write the document to ``path``; ``kind`` is ``json``, ``markdown`` or ``html``.

    Raises ``UserError`` or ``LabError`` if the file cannot be written. An existing file then stays unchanged.
    """
    content = rendered(document, kind)
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
        raise error_of(
            f"{path}: cannot be written: {what}: name a file in an existing folder with free space"
        ) from None


def rendered(document: Document, kind: str) -> str:
    """Return the document as text in the format ``kind``."""
    if kind == "json":
        return document.model_dump_json(indent=2) + "\n"
    if kind == "markdown":
        from hil.compare.markdown import render as comment

        return comment(document)
    from hil.compare.html import render as page

    return page(document)
