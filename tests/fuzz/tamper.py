"""Changes one byte of a signed file: ``python -m tests.fuzz.tamper --count 10000``.

Report, engine, model, calibration cache and bundle take turns. ``hil verify`` must refuse each change with one message.
A changed report may still be readable without its signature (a space for a line end), but then its content must be
unchanged.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hil.attestation import verify
from hil.errors import UserError
from hil.gate.gate import verify as judge_again
from hil.report.read_report import parse
from tests.attestation import case as cases

if TYPE_CHECKING:
    from tests.attestation.case import Case

KINDS = ("report", "bundle", "engine", "onnx", "calibration-cache")


def prepare(folder: Path) -> Case:
    """Return a signed report that verifies with all its files, so that a refusal is caused by the change alone."""
    case = cases.signed(folder)
    problem = _verified(case)
    if problem is not None:
        raise AssertionError(problem)
    return case


def attempt(case: Case, kind: str, chance: random.Random) -> str | None:
    """Change one byte of one file, verify, and restore it; return the problem, ``None`` if there is none."""
    path = _file(case, kind)
    good = path.read_bytes()
    bad = bytearray(good)
    where = chance.randrange(len(bad))
    bad[where] ^= chance.randrange(1, 256)
    change = f"{kind}: byte {where} from {good[where]:#04x} to {bad[where]:#04x}"
    try:
        path.write_bytes(bad)
        if _verified(case) is None:
            return f"{change}: verified nevertheless"
        return f"{change}: read as another report" if kind == "report" and _deceives(good, bytes(bad)) else None
    except Exception as error:  # noqa: BLE001 - anything but a UserError is the finding
        return f"{change}: {type(error).__name__}: {error}"
    finally:
        path.write_bytes(good)


def _file(case: Case, kind: str) -> Path:
    files = {"report": case.report, "bundle": case.bundle, "engine": case.engine(), "onnx": case.onnx}
    return files.get(kind, case.cache)


def _verified(case: Case) -> str | None:
    files = (("engine", case.engine()), ("onnx", case.onnx), ("calibration-cache", case.cache))
    try:
        verify(case.bundle, keys=case.keys, report=case.report, files=files)  # type: ignore[arg-type] # literals
    except UserError as error:
        return str(error)
    return None


def _deceives(good: bytes, bad: bytes) -> bool:
    """Return whether the reader accepts the changed report and its content differs."""
    try:
        report = parse(bad)
        judge_again(report)
    except UserError:
        return False
    return report != parse(good)


def main() -> int:
    """Run the fuzzer; the exit code is 1 if it found an error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, metavar="N", help="how many bytes to change")
    parser.add_argument("--seed", type=int, default=None, help="repeat a run")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if arguments.seed is None else arguments.seed
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    start, faults = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder:
        case = prepare(Path(folder))
        for number in range(arguments.count):
            problem = attempt(case, KINDS[number % len(KINDS)], chance)
            if problem is not None:
                faults += 1
                print(problem)
    took = time.monotonic() - start
    print(f"{arguments.count} bytes changed with seed {seed} in {took:.0f} s: {faults} not refused")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
