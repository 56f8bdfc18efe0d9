"""Find rotated photographs, which user code may read without turning them upright."""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ORIENTATION = 0x0112
"""The EXIF tag of an image's orientation; 1 is upright."""

PHOTOGRAPHS = frozenset({"JPEG", "MPO"})
"""The formats, by Pillow's name, whose tag can be changed without encoding the image again."""

LITTLE, BIG = b"\x12\x01\x03\x00\x01\x00\x00\x00", b"\x01\x12\x00\x03\x00\x00\x00\x01\x00"
"""The tag's entry up to its value, in both byte orders: tag, type 3 (SHORT), count 1."""

TURNED = re.compile(rb"(" + LITTLE + rb"|" + BIG + rb")[\x02-\x08]", re.DOTALL)


@contextlib.contextmanager
def as_if_upright(path: Path) -> Iterator[Path | None]:
    """Yield a copy of a photograph that states to be upright, with the same pixels and the same name.

    Yield ``None`` if ``path`` is not a JPEG file that states to be turned or mirrored, or if Pillow is not installed.
    """
    exif = _turned(path)
    data = path.read_bytes() if exif else b""
    changed = data.replace(exif, TURNED.sub(lambda entry: entry[1] + b"\x01", exif), 1) if exif else b""
    if changed == data:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, path.name)
        copy.write_bytes(changed)
        yield copy


def _turned(path: Path) -> bytes:
    """Return the EXIF data of a photograph that is not upright and does not look the same turned; else nothing."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        return b""
    try:
        with Image.open(path) as image:
            turned = image.format in PHOTOGRAPHS and image.getexif().get(ORIENTATION, 1) != 1
            if not turned or ImageOps.exif_transpose(image).tobytes() == image.tobytes():
                return b""
            return bytes(image.info.get("exif", b""))
    except (OSError, SyntaxError, ValueError):
        return b""
