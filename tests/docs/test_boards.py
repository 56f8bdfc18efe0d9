"""``docs/boards.md`` lists exactly the modules and releases of ``hil.jetson``."""

from __future__ import annotations

import re
from pathlib import Path

from hil.config.load import load
from hil.jetson import MODULES, RELEASES
from hil.jetson.modules import GIB
from tests.docs.page import sections

PAGE = Path(__file__).parent.parent.parent / "docs" / "boards.md"


def rows(title: str) -> list[list[str]]:
    """Return the cells of the table in a section, without its header."""
    text = PAGE.read_text(encoding="utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]
    lines = re.findall(r"^\| (.+) \|$", text, re.MULTILINE)
    return [line.split(" | ") for line in lines[2:]]


def test_modules_are_those_of_the_table() -> None:
    """The page lists each module with name, memory, parts, chip, SM, DLA, power modes and source."""
    listed = rows("Modules")
    assert len(listed) == len(MODULES)
    for (slug, memory, parts, soc, sm, dla, modes, source), module in zip(listed, MODULES, strict=True):
        assert slug == f"`{module.slug}`"
        assert memory == f"{module.memory // GIB} GiB"
        assert (parts, soc, sm, source) == (", ".join(module.parts), module.soc, module.sm, module.source)
        assert dla == ("unknown" if module.dla is None else str(module.dla))
        usual = ", ".join(module.power_modes) or "unknown"
        assert modes == usual + (f" ({', '.join(module.super_modes)})" if module.super_modes else "")


def test_releases_are_those_of_the_table() -> None:
    """The page lists the versions of each release; a version that is not known is called ``unknown``."""
    listed = rows("JetPack releases")
    assert len(listed) == len(RELEASES)
    for cells, release in zip(listed, RELEASES, strict=True):
        versions = (release.ubuntu, release.python, release.cuda, release.tensorrt, release.cudnn)
        shown = [version or "unknown" for version in versions]
        l4t = ", ".join(release.l4t) or "unknown"
        assert cells == [release.jetpack, l4t, *shown, ", ".join(release.socs), release.source]


def test_the_configuration_loads(tmp_path: Path) -> None:
    """The example configuration of the page loads."""
    [block] = [block for block in sections(PAGE)["What a board is known by"] if block.kind == "toml"]
    model = '[models.a]\npath = "a.onnx"\ndata = "a.npz"\n'
    for name in ("a.onnx", "a.npz"):
        (tmp_path / name).touch()
    (tmp_path / "hil.toml").write_text(model + block.body, encoding="utf-8")
    target = load(tmp_path / "hil.toml").target("rover")
    assert (target.board, target.serial) == ("orin-nx-16gb", "1424721012345")
