"""The table of ``docs/tensorrt.md``: what was executed, built and name-checked, by release and precision.

It is made from records: kept results of the suites on a real GPU, the tests that build with TensorRT-RTX, and the names
of each release. ``python -m tests.docs.tensorrt_table`` writes it into the page.
"""

from __future__ import annotations

import json
from pathlib import Path

from hil.jetson.supported_precisions import refusal
from tests.agent.runtimes.tensorrt.test_rtx import QUANTIZED, TYPED
from tests.agent.runtimes.tensorrt_matrix import VERSIONS, read

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "tensorrt.md"
BEGIN, END = "<!-- made by tests/docs/tensorrt_table.py -->\n", "<!-- end -->"
RTX = "rtx1.7"

NAMES = {
    "fp32": "FLOAT",
    "tf32": "FLOAT",
    "fp16": "HALF",
    "bf16": "BF16",
    "int8": "INT8",
    "fp8": "FP8",
    "fp4": "FP4",
    "int4": "INT4",
}
"""By precision, the member of ``DataType`` that it needs."""


def executed() -> dict[str, set[str]]:
    """Return the precisions whose engines passed a check on a real GPU, by release of TensorRT."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "benchmarks" / "results").glob("tensorrt-suites-*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        release = ".".join(document["versions"]["tensorrt"].split(".")[:2])
        found.setdefault(release, set()).update(
            row["precision"]
            for row in document["rows"]
            if row["evidence"] == "device" and row["executed_on"] == "gpu" and row["verdict"] == "passed"
        )
    return found


def built() -> set[str]:
    """Return the precisions of which the tests build engines with TensorRT-RTX."""
    return {*TYPED, *(kind.lower() for kind in QUANTIZED)}


def cells(release: str) -> list[str]:
    """Return the table's cell for each precision under ``release``."""
    types = read().classes["DataType"]
    on_gpu = executed().get(release, set())
    return [
        "**executed**"
        if precision in on_gpu
        else "**built**"
        if release == RTX and precision in built()
        else "name-checked"
        if release in types.get(name, ()) and not refusal(precision, None, release)
        else "—"
        for precision, name in NAMES.items()
    ]


def precisions_table() -> str:
    """Return the table in Markdown."""
    rows = [["release", *NAMES], ["---"] * (len(NAMES) + 1)]
    rows += [[release, *cells(release)] for release in VERSIONS]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main() -> None:
    """Write the table into the page."""
    head, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(head + BEGIN + precisions_table() + END + rest.split(END, 1)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
