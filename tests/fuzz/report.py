"""Feeds damaged and edited reports to the reader: ``python -m tests.fuzz.report --count 10000``.

Each must be read or refused with ``UserError`` within a second, and damage must never improve the decision.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil.errors import UserError
from hil.gate.gate import seal, verify
from hil.report.canonical import report_digest
from hil.report.read_report import parse
from hil.report.write_report import to_json
from tests.report import sample

if TYPE_CHECKING:
    from collections.abc import Callable

    Mutation = Callable[[bytearray, random.Random], None]

GOODNESS = {"FAILED": 0, None: 0, "WARNED": 1, "PASSED": 2}
SLOWEST = 1.0
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 1e308, -0.0, 10**400),
    *("", "passed", "PASSED", "complete", "\ud800", "\x00"),
    *([], {}, [[]], {"a": 1}),
)


class Fault(Exception):  # noqa: N818 - a finding of the fuzzer, not an error of it
    """The reader crashed, or reported a better decision than the original."""


def flip(data: bytearray, chance: random.Random) -> None:
    """Flip one bit."""
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def put(data: bytearray, chance: random.Random) -> None:
    """Replace one byte by any other."""
    data[chance.randrange(len(data))] = chance.randrange(256)


def cut(data: bytearray, chance: random.Random) -> None:
    """Delete some bytes, or everything after a position."""
    start = chance.randrange(len(data))
    del data[start : start + chance.choice((1, 2, 40, len(data)))]


def repeat(data: bytearray, chance: random.Random) -> None:
    """Copy a piece of the report to another place."""
    start, where = chance.randrange(len(data)), chance.randrange(len(data))
    data[where:where] = data[start : start + chance.choice((1, 8, 300))]


def nest(data: bytearray, chance: random.Random) -> None:
    """Insert deeply nested brackets."""
    where = chance.randrange(len(data))
    data[where:where] = chance.choice((b"[", b'{"a":')) * chance.choice((50, 1_000, 100_000))


def swap(data: bytearray, chance: random.Random) -> None:
    """Change one JSON value and recompute the digest, as an editor who knows the format would."""
    document = json.loads(data)
    for _ in range(chance.choice((1, 1, 3))):
        holder, key = _somewhere(document, chance)
        change = chance.randrange(4)
        if change == 0 and isinstance(holder, dict):
            holder[chance.choice(("extra", "verdict", "cause", "\u2028"))] = deepcopy(chance.choice(ODD_VALUES))
        elif change == 1:
            del holder[key]
        else:
            holder[key] = deepcopy(chance.choice(ODD_VALUES))
        if not isinstance(document, dict) or not document:
            break
    if chance.random() < 0.8:
        document["digest"] = report_digest(document)
    data[:] = json.dumps(document).encode()


def _somewhere(document: Any, chance: random.Random) -> tuple[Any, Any]:
    holder, key = document, chance.choice(list(document))
    while isinstance(holder[key], (dict, list)) and holder[key] and chance.random() < 0.85:
        holder = holder[key]
        key = chance.choice(list(holder)) if isinstance(holder, dict) else chance.randrange(len(holder))
    return holder, key


MUTATIONS: tuple[Mutation, ...] = (flip, put, cut, repeat, nest, swap, swap, swap)


def answer(data: bytes) -> str | None:
    """Return the decision that the reader reports, ``None`` if it refuses the report. Raises ``Fault``."""
    began = time.monotonic()
    try:
        report = parse(data)
        verify(report)
    except UserError as error:
        if "\n" in str(error):
            raise Fault(f"a message of several lines: {error}") from error
        return None
    except Exception as error:
        raise Fault(f"{type(error).__name__}: {error}") from error
    finally:
        if time.monotonic() - began > SLOWEST:
            raise Fault(f"took more than {SLOWEST} s")
    return report.decision


def fuzz(count: int, seed: int) -> int:
    """Try ``count`` mutated reports and return how many were refused. Raises ``Fault`` and stores the report."""
    chance = random.Random(seed)  # noqa: S311 - a reproducible sequence, not a secret
    rows = sample.checks(("digits",), ("int8",))
    starts = [seal(sample.draft(rows)), sample.failed(), sample.fallback()]
    texts = [(to_json(report).encode(), GOODNESS[report.decision]) for report in starts]
    refused = 0
    for number in range(count):
        text, good = texts[0] if chance.random() < 0.8 else chance.choice(texts[1:])
        data = bytearray(text)
        mutation = chance.choice(MUTATIONS)
        mutation(data, chance)
        try:
            decision = answer(bytes(data))
            _no_better(decision, good, mutation)
        except Fault as fault:
            path = Path(tempfile.gettempdir()) / f"hil-fuzz-report-{seed}-{number}.json"
            path.write_bytes(data)
            raise Fault(f"case {number} of seed {seed}: {fault}: stored as {path}") from fault
        refused += decision is None
    return refused


def _no_better(decision: str | None, good: int, mutation: Mutation) -> None:
    """Raise ``Fault`` if damage improved the decision. Only ``swap``, which recomputes the digest, may improve it."""
    if GOODNESS[decision] > good and mutation is not swap:
        raise Fault(f"{mutation.__name__} made the decision {decision}")


def main() -> int:
    """Run the fuzzer from the command line; the exit code is 1 after a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    try:
        refused = fuzz(arguments.count, arguments.seed)
    except Fault as fault:
        print(fault)
        return 1
    print(f"{arguments.count} mutated reports: {refused} refused, {arguments.count - refused} read, no crash, no hang")
    return 0


if __name__ == "__main__":
    sys.exit(main())
