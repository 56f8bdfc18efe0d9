"""Verdicts on real models: ``python -m benchmarks.accuracy [--quick] [--seed N] [--jobs N] [--cache DIR] [--out DIR]``.

Models that other projects ship, and the bundled ones, are changed in two ways: soundly, as exporters and optimizers
change models, and by damage within the graph. Decoders of the benchmark itself decide which engines are sound: of 256
samples, a sound engine changes the answers to at most 2 %, a broken engine to at least 10 %. Engines in between, and
damage without effect, are shown and not counted. The judges compare the outputs for 256 other samples at the default
tolerances, once with the kinds of outputs that ``hil init`` proposes and once without kinds. No broken engine may pass.
With kinds, at most 3 % of the sound engines may fail, and 10 % may be inconclusive. The seed decides samples and
details; by default each run uses a new seed. ``--cache`` stores the outputs, several GB, so that they can be judged
again in minutes. Computing the outputs takes one core an hour; ``--jobs N`` processes N models at once. ``--quick``
judges some changes of small models, within a minute, and is not a result. The exit code is 1 if a bar is missed; with
``--quick``, only if chance does not explain the figure.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import results
from benchmarks.accuracy.judges import JUDGES
from benchmarks.accuracy.left_out import left_out
from benchmarks.accuracy.people import PACKAGES as PEOPLE
from benchmarks.accuracy.subjects import SUBJECTS
from benchmarks.accuracy.variants import NOTHING, UNJUDGED, Store, Variant, truth_of, variants
from benchmarks.results.judging.accuracy import counted, judge_sample
from benchmarks.verdicts.table import bounds
from tests.zoo.packages import PACKAGES, installed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SAMPLES = 256
QUICK = {"digits": 8, "arm": 7, "speech": 7, "scenes": 4}
"""Number of changes that ``--quick`` makes to each model."""

CONFIDENCE = 0.95


def judged(store: Store, chosen: Sequence[Variant]) -> Iterator[dict[str, Any]]:
    """Yield a row for each change and precision of the model: the truth, and the verdict of each judge."""
    for variant in chosen:
        facts = store.facts(variant)
        if facts["reason"] == NOTHING:
            continue
        truth = truth_of(variant, facts)
        row = {"model": variant.model, "group": variant.group, "kind": variant.kind, "int8": variant.int8}
        row |= {"truth": truth, "changed": facts["changed"]}
        if truth in UNJUDGED:
            yield {**row, "precision": "", "verdicts": {}, "reasons": {"": facts["reason"]}}
            continue
        ours, theirs = store.reference, store.outputs(variant)
        for precision in variant.precisions:
            made = {name: judge(precision, store.subject, ours, theirs) for name, judge in JUDGES.items()}
            yield {
                **row,
                "precision": precision,
                "verdicts": {name: one.verdict for name, one in made.items()},
                "reasons": {name: one.reason for name, one in made.items()},
                "slice_error": made["undeclared"].slice_error,
            }


def line(row: Mapping[str, Any]) -> str:
    """Return a row as text; a wrong verdict is in capitals, with its reason."""
    changed = "" if row["changed"] is None else f" {row['changed']:.1%} changed"
    text = f"{row['model']}: {row['kind']}{' on int8' * row['int8']}: {row['truth']}{changed}"
    if not row["verdicts"]:
        return f"{text}{': ' * bool(row['reasons'][''])}{row['reasons']['']}"
    wrong = {"sound": "failed", "broken": "passed"}.get(row["truth"], "")
    verdicts = [f"{name} {one.upper() if one == wrong else one}" for name, one in row["verdicts"].items()]
    reasons = [
        f"\n    {name}: {row['reasons'][name]}"
        for name in ("declared", "undeclared")
        if wrong and row["verdicts"][name] != {"sound": "passed", "broken": "failed"}[row["truth"]]
    ]
    return f"{text}; at {row['precision']}: {', '.join(verdicts)}{''.join(reasons)}"


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a table of each judge's shares of wrong and undecided verdicts, with exact bounds at 95 %."""
    lines = [f"{'judge':<16}{'broken passed':<30}{'sound failed':<30}{'inconclusive':<30}"]
    for name in JUDGES:
        cells = []
        for truth, verdict in (("broken", "passed"), ("sound", "failed"), ("", "inconclusive")):
            hits, trials = counted(rows, truth, name, verdict)
            low, high = bounds(hits, trials, CONFIDENCE) if trials else (0.0, 1.0)
            cells.append(f"{f'{hits} of {trials} ({low:.1%} to {high:.1%})':<30}")
        lines.append(f"{name:<16}{''.join(cells)}")
    return lines


def left_out_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a table: each model's engines judged by limits of slice_error that were chosen from the other models."""
    lines = ["each model's engines, judged by limits of slice_error from all other models, without kinds:"]
    for one in left_out(rows):
        counts = ", ".join(f"{name} {one[name]}" for name in ("broken passed", "sound failed", "open"))
        limits = f"at most {one['passed']:.3g} passes, over {one['failed']:.3g} fails"
        lines.append(f"  {one['model']} at {one['precision']}: {limits}: {counts} of {one['engines']}")
    return lines


def _quick(name: str, seed: int) -> list[Variant]:
    """Return some changes of a model, half of them sound."""
    random = np.random.default_rng([seed, *name.encode()])
    everything = variants(name, seed)
    groups = [[one for one in everything if (one.group == "sound") is sound] for sound in (True, False)]
    return [part[place] for part in groups for place in random.permutation(len(part))[: QUICK[name]]]


def _rows(folder: Path, packages: Path, seed: int, quick: bool, name: str) -> list[dict[str, Any]]:  # noqa: FBT001 - for partial()
    """Return all rows of a model; print each when it is complete."""
    logging.disable(logging.WARNING)  # the quantizer's
    rows = []
    for row in judged(Store(folder, packages, name, seed, SAMPLES), (_quick if quick else variants)(name, seed)):
        print(line(row), flush=True)
        rows.append(row)
    return rows


def main() -> int:
    """Print each row when it is complete, and the bars; write the result to ``--out``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="some changes of small models; not a result")
    parser.add_argument("--seed", type=int, default=None, help="decides samples and details (default: a new one)")
    parser.add_argument("--cache", type=Path, help="the folder in which outputs are stored (default: none remains)")
    parser.add_argument("--only", choices=SUBJECTS, action="append", help="only this model; may be repeated")
    parser.add_argument("--jobs", type=int, default=1, help="models at once (default: 1)")
    parser.add_argument("--out", type=Path, help="the folder to write accuracy.json to")
    options = parser.parse_args()
    seed = int.from_bytes(os.urandom(3), "big") if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    names = list(options.only or (QUICK if options.quick else SUBJECTS))
    with tempfile.TemporaryDirectory(prefix="accuracy-") as folder, ProcessPoolExecutor(options.jobs) as pool:
        of = partial(_rows, options.cache or Path(folder), installed(), seed, options.quick)
        made = [row for rows in pool.map(of, names) for row in rows]
    rows = [row for row in made if row["verdicts"]]
    print("\n".join(table(rows)))
    if not options.quick and not options.only:
        print("\n".join(left_out_table(rows)))
    if options.quick or options.only:
        bars = judge_sample(rows)
        for bar in bars:  # of few engines, one may be wrong by chance; none may be where the limit is 0
            bar["met"] = bar["low"] is not None and bar["low"] <= bar["limit"]
    else:
        ours = ("numpy", "onnx", "onnxruntime", "pytest-hil")
        versions = {"host python": platform.python_version(), **{name: version(name) for name in ours}}
        listed = [*PACKAGES.read_text().splitlines(), *PEOPLE.read_text().splitlines()]
        versions |= dict(one.split()[0].split("==") for one in listed if not one.startswith("#"))
        command = ["python", "-m", "benchmarks.accuracy", "--seed", str(seed)]
        document = results.result("accuracy", made, command=command, versions=versions, quick=False)
        bars = document["bars"]
        if options.out is not None:
            print(results.write(options.out, document))
    for bar in bars:
        verdict = "met" if bar["met"] else "missed"
        print(f"{bar['name']}: {results.figure_text(bar)}; bar: {bar['sense']} {bar['limit']:g}: {verdict}")
    missed = sum(not bar["met"] for bar in bars)
    print(f"accuracy: {missed} of {len(bars)} bars missed; bar: none")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
