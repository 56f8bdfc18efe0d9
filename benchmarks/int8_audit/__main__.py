"""``python -m benchmarks.int8_audit [--quick]``: faulty and healthy calibrations, judged by the INT8 audit.

Each kind of fault is planted in one of the bundled models. The seed decides model, method, training data and the
fault's details. A fault counts as named if a check intended for it does not pass and its reason contains the cause, or
if the session refuses the planted file and calibrates again. Each healthy calibration, drawn in the same way, must pass
all checks of the audit. Everything uses the explicit route on this machine's CPU. ``--third-party``
audits networks of other projects instead (``third_party.py``), all or those named by ``--model``. Exit code 1 if a bar
is missed.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import results
from benchmarks.int8_audit import third_party
from benchmarks.int8_audit.faults import FAULTS, Fault
from benchmarks.int8_audit.project import Project, audit, stored_models
from benchmarks.parity.third_party import NAMES
from benchmarks.results.judging.int8 import THIRD_PARTY_NAMED
from hil.files.digests import file_digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from hil.config.load import Config

CLEAN = 12
QUICK = 3
SEEDS = 3
FIRST = 2000
"""The first seed.

The seeds 0 to 11 and 1001 no longer prove anything: thresholds were set on 0 to 11, and 1001 revealed the case of a
cache that was truncated before its digest was recorded.
"""


def plant_fault(fault: Fault, seed: int, root: Path) -> dict[str, Any]:
    """Plant one fault, audit the project, and return the row."""
    random = np.random.default_rng([seed, FAULTS.index(fault)])
    project = Project.drawn(root, random, fault.model)
    config = fault.plant(project, random)
    planted_files = _digests(config)
    results_ = audit(config, project.model, root)
    now = _digests(config)
    # A file that the session did not accept and made again was detected before the audit, which did not judge it.
    refused = any(now.get(path) != digest for path, digest in planted_files.items())
    found, named = fault.outcome(results_)
    reasons = {check: result.reason for check, result in results_.items() if result.verdict.value != "passed"}
    if refused:
        reasons["cache"] = "not accepted, calibrated again"
    outcome = {"found": found or refused, "named": named or refused}
    return {"kind": fault.kind, "seed": seed, **outcome, "reasons": reasons, **_facts(project)}


def _digests(config: Config) -> dict[Path, str]:
    """Return the SHA-256 of each calibrated model that a session of ``config`` may use, and of its record.

    A model that is calibrated again may be equal to the former one; then only its record changes.
    """
    return {path: file_digest(path) for path in stored_models(config).glob("*.*")}


def audit_healthy(seed: int, root: Path) -> dict[str, Any]:
    """Audit one healthy calibration and return the row, with the reasons of the checks that accuse it."""
    project = Project.drawn(root, np.random.default_rng([seed, 1000]))
    results_ = audit(project.write(), project.model, root)
    reasons = {check: result.reason for check, result in results_.items() if result.verdict.value != "passed"}
    return {"kind": "healthy", "seed": seed, "accused": bool(reasons), "reasons": reasons, **_facts(project)}


def _facts(project: Project) -> dict[str, Any]:
    return {"model": project.model, "drawn": {key: _plain(value) for key, value in project.facts.items()}}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def main() -> int:
    """Run all audits and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed of each fault, three healthy ones")
    parser.add_argument("--only", metavar="WORDS", help="only kinds of faults whose names contain WORDS")
    parser.add_argument("--seed", type=int, default=FIRST, help="the first seed of each kind (default: %(default)s)")
    parser.add_argument("--third-party", action="store_true", help="networks of other projects instead")
    parser.add_argument("--model", choices=NAMES, action="append", help="only this network of others; may be repeated")
    parser.add_argument("--out", metavar="DIR", type=Path, help="the folder to write the result to")
    arguments = parser.parse_args()
    count, clean = (1, QUICK) if arguments.quick else (SEEDS, CLEAN)
    seeds = range(arguments.seed, arguments.seed + count)
    kinds = [fault for fault in FAULTS if (arguments.only or "") in fault.kind]
    work = [partial(plant_fault, fault, seed) for fault in kinds for seed in seeds]
    if arguments.third_party:
        faults = [None, *(fault for fault in third_party.FAULTS if (arguments.only or "") in fault.kind)]
        names = arguments.model or (("turned",) if arguments.quick else NAMES)
        work = [partial(third_party.audited, name, fault, arguments.seed) for name in names for fault in faults]
    elif not arguments.only:
        work += [partial(audit_healthy, seed) for seed in range(arguments.seed, arguments.seed + clean)]
    rows = [_printed(_in_own_folder(entry)) for entry in work]
    packages = ("numpy", "onnx", "onnxruntime", "pytest-hil")
    versions = {"host python": platform.python_version(), **{entry: version(entry) for entry in packages}}
    command = ["python", "-m", "benchmarks.int8_audit", "--seed", str(arguments.seed)]
    if arguments.third_party:
        command += ["--third-party", *(word for name in arguments.model or () for word in ("--model", name))]
    name = "int8-audit-third-party" if arguments.third_party else "int8-audit"
    document = results.result(name, rows, command=command, versions=versions, quick=arguments.quick)
    if arguments.out is not None:
        print(results.write(arguments.out, document))
    for bar in document["bars"] if not (arguments.quick or arguments.only) else ():
        verdict = "met" if bar["met"] else "missed"
        print(f"{bar['name']}: {results.figure_text(bar)}; bar: {bar['sense']} {bar['limit']:g}: {verdict}")
    faulty = [row for row in rows if row["kind"] != "healthy"]
    accused = sum(row["accused"] for row in rows if row["kind"] == "healthy")
    found, named = (sum(row[key] for row in faulty) for key in ("found", "named"))
    least = THIRD_PARTY_NAMED if arguments.third_party else 1.0
    healthy_ones = f"{accused} of {len(rows) - len(faulty)} healthy ones accused (bar: 0)"
    print(f"{found} of {len(faulty)} faults found (bar: all), {named} named (bar: {least:.0%}); {healthy_ones}")
    good = found == len(faulty) and named >= least * len(faulty) and not accused
    whole = arguments.quick or arguments.only or all(bar["met"] for bar in document["bars"])
    return 0 if good and whole else 1


def _in_own_folder(work: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="int8-audit-") as folder:
        return work(Path(folder))


def _printed(row: dict[str, Any]) -> dict[str, Any]:
    good = not row["accused"] if row["kind"] == "healthy" else row["named"]
    drawn = ", ".join(f"{key} {value}" for key, value in row["drawn"].items())
    print(f"{'ok ' if good else 'BAD'} {row['kind']}, seed {row['seed']}: {drawn}", flush=True)
    for check, reason in row["reasons"].items():
        print(f"      {check}: {reason}")
    return row


if __name__ == "__main__":
    sys.exit(main())
