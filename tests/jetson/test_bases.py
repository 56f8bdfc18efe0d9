"""Base images by Jetson Linux release; each has a source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.jetson import RELEASES
from hil.jetson.bases import BASES, base_for

if TYPE_CHECKING:
    from pathlib import Path


def test_the_table_of_bases() -> None:
    """Each image has a source and only Jetson Linux releases of its own major version; no release has two images."""
    released = {l4t for release in RELEASES for l4t in release.l4t}
    listed = [l4t for base in BASES for l4t in base.l4t]
    assert len(listed) == len(set(listed))
    assert set(listed) <= released
    for base in BASES:
        assert base.source
        assert all(base.image.split(":r")[1].split(".")[0] == l4t.split(".")[0] for l4t in base.l4t)
        assert [base_for(l4t) for l4t in base.l4t] == [base] * len(base.l4t)


def test_the_documented_table_is_the_products(repository: Path) -> None:
    """The documented table has the same rows."""
    text = (repository / "docs/deploy.md").read_text(encoding="utf-8")
    rows = [f"| {', '.join(base.l4t)} | `{base.image}` |" for base in BASES]
    assert "\n".join(rows) in text
    assert text.count("`nvcr.io/") == len(rows)
