"""``python -m benchmarks.onnx_backend [--quick]``: ONNX's own test cases through agent and parity.

Each case of the installed onnx package (its node cases and the models that it stores) is a model with inputs and the
outputs that ONNX expects. Each runs in ONNX Runtime's CPU provider on an agent of this machine, and parity compares
its outputs with the expected ones. A case is passed, failed, or refused with a reason. A verdict is wrong if ONNX's own
rule says otherwise, and a refusal is wrong if ONNX Runtime alone gives the expected outputs. Each case that ran is
judged again with one element of the expected outputs changed, which must not pass. Exit code 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import results
from benchmarks.onnx_backend.cases import cases
from benchmarks.onnx_backend.judged import judged
from benchmarks.results.judging.onnx_backend import judge_sample
from hil.config.spec import TargetSpec
from hil.targets.target import open_target

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULT = "onnx-backend"
PACKAGES = ("ml_dtypes", "onnx", "onnxruntime")


def main() -> int:
    """Print what did not pass and the reasons of refusals; the last line has the figures and the bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a sample of the cases, within a minute; no result")
    parser.add_argument("--out", type=Path, help="folder for the result file")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as work:
        target = open_target("cpu", TargetSpec(store=f"{work}/store"))
        with target.start_agent() as agent:
            agent.hold("onnx-backend", "benchmark")
            for case in cases(quick=options.quick):
                rows.append(judged(agent, case, Path(work, "case")))
                _show(rows[-1])
    _summarize(rows)
    versions = {name: version(name) for name in PACKAGES}
    versions |= {"host python": platform.python_version(), "pytest-hil": version("pytest-hil")}
    bars = judge_sample(rows) if options.quick else results.judge(RESULT, rows)
    if options.out is not None and not options.quick:
        made = results.result(
            RESULT, rows, command=["python", "-m", "benchmarks.onnx_backend"], versions=versions, quick=False
        )
        results.write(options.out, made)
    good = results.passed(bars)
    counts = Counter(row["outcome"] for row in rows)
    figures = ", ".join(f"{bar['name']} {_shown(bar['figure'])} (bar {bar['limit']:g} {bar['sense']})" for bar in bars)
    print(f"onnx_backend: {len(rows)} cases, {dict(counts)}; {figures}: {'ok' if good else 'MISSED'}")
    return 0 if good else 1


def _shown(figure: float | None) -> str:
    return "unknown" if figure is None else f"{figure:g}"


def _show(row: dict[str, Any]) -> None:
    bad = row["wrong"] or ("damaged outputs passed" if row["missed"] else "")
    if bad or row["outcome"] in {"failed", "traceback"} or row["reason"].startswith(("other", "ONNX Runtime cannot")):
        print(f"{row['outcome']:9} {row['kind']} {row['case']}: {bad} {row['message']}", flush=True)


def _summarize(rows: Sequence[dict[str, Any]]) -> None:
    reasons = Counter(row["reason"] for row in rows if row["outcome"] == "refused")
    for reason, count in reasons.most_common():
        print(f"refused {count:4}: {reason}")
    for note, count in Counter(row["note"] for row in rows if row["note"]).items():
        print(f"passed  {count:4}: {note}")


if __name__ == "__main__":
    sys.exit(main())
