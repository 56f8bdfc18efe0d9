"""A/A comparisons of real runs on this machine, with its noise: ``python -m benchmarks.aa [--quick] [--out DIR]``.

The two bundled models are run in fresh processes of the real agent. In total there are 100 comparisons of a model with
itself (A/A) and 20 with a copy that has one more node and is about 5 % slower. The numbers were fixed beforehand, every
comparison counts, and an error ends the benchmark without a result. A comparison has nine pairs, timed alternately
(``hil.session.sampling.paired_timing``) and judged by ``hil.stats``: a change is reported if it is significant at 99 %
and larger than 1 %. For comparison, the same times are also judged without pairing, nine runs against nine. The true
size of the slowdown is measured with separate pairs. The exit code is 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import os
import platform
import secrets
import sys
import tempfile
import time
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.results.judging.aa import AA_MODELS, AA_PAIRS, AA_ROUNDS, AA_SIZE_PAIRS, aa_called
from benchmarks.slowed import ROOT, slowed
from hil.config.load import Config, load
from hil.session import Request, Session
from hil.session.sampling import paired_timing

OPERANDS = {"digits": 11, "arm": 4}
"""Number of constants in the maximum that the added node computes: about 5 % of the model's time on our machine."""

QUICK_PAIRS = 8
SETTINGS = """# Written by the benchmarks of pytest-hil.
[targets.cpu]
kind    = "local"
runtime = "onnxruntime"
store   = "{store}"
threads = 1  # a second thread would compete with other processes

[measure]
warmup = "20 ms"
"""
MODEL = """
[models.{name}]
path       = "{path}"
precisions = ["fp32"]
data       = "{data}"
"""


def project(folder: Path) -> Config:
    """Write and load a ``hil.toml`` with each bundled model and its copy ``MODEL-slowed``, which has one more node."""
    text = SETTINGS.format(store=folder / "store")
    for model, operands in OPERANDS.items():
        data = ROOT / "examples" / model / "validation.npz"
        slowed(model, folder / f"{model}-slowed.onnx", operands)
        text += MODEL.format(name=model, path=ROOT / "examples" / model / "model.onnx", data=data)
        text += MODEL.format(name=f"{model}-slowed", path=folder / f"{model}-slowed.onnx", data=data)
    (folder / "hil.toml").write_text(text, encoding="utf-8")
    return load(folder / "hil.toml")


def plan(*, quick: bool) -> list[tuple[str, str, int]]:
    """Return model, kind and number of pairs of every comparison, in order; the kinds alternate over the whole time."""
    rounds, alike, pairs, last = (1, 1, QUICK_PAIRS, QUICK_PAIRS) if quick else (AA_ROUNDS, 5, AA_PAIRS, AA_SIZE_PAIRS)
    one_round = [(model, kind, pairs) for model in AA_MODELS for kind in (*["same"] * alike, "slowed")]
    return [*one_round * rounds, *((model, "size", last) for model in AA_MODELS)]


def measure(session: Session, comparisons: list[tuple[str, str, int]]) -> list[dict[str, Any]]:
    """Return a row for each comparison. Each pair of a row has the two p50 in seconds and their ratio."""
    rows = []
    began = time.monotonic()
    for number, (model, kind, pairs) in enumerate(comparisons, 1):
        other = model if kind == "same" else f"{model}-slowed"
        pairs_timed = paired_timing.pairs(session, (model, "fp32"), (other, "fp32"), pairs)
        row = {"model": model, "kind": kind, "pairs": [[one.first, one.second, one.ratio] for one in pairs_timed]}
        rows.append(row)
        called = f"paired {aa_called(row)}, by runs {aa_called(row, paired=False)}"
        print(
            f"{number:3} of {len(comparisons)}, {time.monotonic() - began:5.0f} s: {model} {kind}: {called}", flush=True
        )
    return rows


def versions() -> dict[str, str]:
    """Return the versions of the software, and the machine."""
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "host python": platform.python_version(),
        "host numpy": version("numpy"),
        "onnxruntime": version("onnxruntime"),
        "pytest-hil": version("pytest-hil"),
    }


def main() -> int:
    """Measure, print the bars, and write the result to ``--out``; the last line has figures and bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one comparison of each kind; not a result")
    parser.add_argument("--out", type=Path, help="the folder to write compare-aa.json to")
    arguments = parser.parse_args()
    os.environ["HIL_COMMIT"] = results.commit()  # as it is at the start
    with tempfile.TemporaryDirectory() as folder:
        config = project(Path(folder))
        request = Request(config, "cpu", "fail", 0.0, secrets.token_hex(16), Path(folder) / "report", lambda _: None)
        with closing(Session.open(request)) as session:
            rows = measure(session, plan(quick=arguments.quick))
    command = ["python", "-m", "benchmarks.aa", *sys.argv[1:]]
    made = results.result("compare-aa", rows, command=command, versions=versions(), quick=arguments.quick)
    if arguments.out is not None and not arguments.quick:
        print(results.write(arguments.out, made))
    for bar in made["bars"]:
        verdict = "met" if bar["met"] else "missed"
        print(f"{bar['name']}: {results.figure_text(bar)}; bar: {bar['sense']} {bar['limit']:g}: {verdict}")
    if arguments.quick:
        print(f"compare-aa: {len(rows)} comparisons, not enough to judge; bar: none with --quick")
        return 0
    missed = sum(not bar["met"] for bar in made["bars"])
    print(f"compare-aa: {missed} of {len(made['bars'])} bars missed; bar: none")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
