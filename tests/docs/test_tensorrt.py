"""``docs/tensorrt.md``: its configurations load, and its versions are those of the API matrix."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hil.config.fields import BROUGHT
from hil.config.load import load
from hil.jetson.supported_precisions import NEEDS
from tests.agent.runtimes.tensorrt_matrix import VERSIONS
from tests.docs.page import sections
from tests.docs.tensorrt_table import BEGIN, built, executed, precisions_table

PAGE = Path(__file__).parent.parent.parent / "docs" / "tensorrt.md"
BLOCKS = {title: block.body for title, blocks in sections(PAGE).items() for block in blocks if block.kind == "toml"}
WHOLE = "A first configuration"
FILES = (
    "detector.onnx",
    "detector.int8.onnx",
    "detector.fp8.onnx",
    "validation.npz",
    "calibration.npz",
    "detector.plan",
    "build/libdetector_plugins.so",
)


def table(text: str, name: str) -> str:
    """Return the lines of one table of a TOML text."""
    match = re.search(rf"^\[{re.escape(name)}\]\n(?:(?!\[).*\n?)*", text, re.MULTILINE)
    return match[0] if match else ""


@pytest.mark.parametrize("title", BLOCKS)
def test_configurations_load(tmp_path: Path, title: str) -> None:
    """Each configuration loads: the whole one unchanged, the others with their tables put into the whole one."""
    text = BLOCKS[WHOLE]
    if title != WHOLE:
        for name in re.findall(r"^\[(.+)\]$", BLOCKS[title], re.MULTILINE):
            text = text.replace(table(text, name), "")
        text += "\n" + BLOCKS[title]
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    path = tmp_path / "hil.toml"
    path.write_text(text, encoding="utf-8")
    config = load(path)
    assert config.target("gpu").runtime == "tensorrt"
    assert config.model("detector", "gpu").precisions


def test_versions_are_those_of_the_matrix() -> None:
    """The page claims checked API names for exactly the versions of the matrix."""
    text = PAGE.read_text(encoding="utf-8").partition(BEGIN)[0]
    rows = re.findall(
        r"^\| ([\w., ]+) \|[^|]*\| (?:\*\*executed\*\*|name-checked|parser and builder)", text, re.MULTILINE
    )
    claimed = {version for versions in rows for version in versions.split(", ")}
    assert claimed == {*VERSIONS, "8.6.0"} - {"8.6"}


def test_the_table_is_that_of_the_records() -> None:
    """What the page calls executed, built and name-checked is what the records of tests and benchmarks show."""
    assert BEGIN + precisions_table() in PAGE.read_text(encoding="utf-8"), "run python -m tests.docs.tensorrt_table"


def test_the_records_are_not_empty() -> None:
    """The records of what was executed and built are not empty."""
    assert {"fp32", "tf32", "fp16", "int8"} <= executed()["8.6"]
    assert {"fp32", "fp16", "bf16", "int8", "fp8", "fp4", "int4"} <= built()


def test_needs_of_a_precision_are_those_of_the_table() -> None:
    """The page has the oldest capability, the release and the source of each precision of a deployed file."""
    rows = re.findall(
        r"^\| `(\w+)` \| ([\d.]+): .*? \| ([\d.]+) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    needs = {precision: NEEDS[precision] for precision in BROUGHT}
    assert rows == [(name, need.sm, need.tensorrt, need.source) for name, need in needs.items()]
