"""Feeds mutated lines to the parser: ``python -m tests.fuzz.tegrastats [--lines 100000] [--seed 0]``.

Each must be read without an exception, in a tenth of a second of processor time, into finite numbers that are within
their bounds, and each power must be a number of the line. Anything else ends the run and prints the line.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hil.agent.jetson.tegrastats import OFFLINE, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SLOW_SECONDS = 0.1
TOKENS = (
    *(
        "off",
        "-1",
        "-5mW/3mW",
        "1e9",
        "nan",
        "inf",
        "%",
        "@",
        "@[",
        "]",
        "[",
        "(",
        ")",
        "/",
        "mW",
        "C",
        "MB",
        "kB",
        "-256C",
    ),
    *("RAM", "CPU", "SWAP", "VDD_IN", "GR3D_FREQ", "MTS fg", "9" * 30, "0" * 400, "\u0663", "\ufffd", "\0", ","),
    *("[" * 200, "1%@[" * 100, "1," * 400, "VDD_IN -900mW", "gpu@-1C"),
)


def seeds() -> list[str]:
    """Return the real lines that the unit tests parse value by value."""
    from tests.agent.jetson.test_tegrastats import SAMPLES  # circular otherwise: those tests run this fuzzer

    return [line for line, _ in SAMPLES.values()]


def flip(rng: random.Random, text: list[str]) -> None:
    """Replace a character."""
    if text:
        text[rng.randrange(len(text))] = chr(rng.choice([rng.randrange(32, 127), rng.randrange(0x250)]))


def cut(rng: random.Random, text: list[str]) -> None:
    """Cut off the end or the beginning."""
    at = rng.randrange(len(text) + 1)
    del text[rng.choice([slice(at), slice(at, None)])]


def insert(rng: random.Random, text: list[str]) -> None:
    """Insert a token that parsers often fail on, between words or within one."""
    at = rng.randrange(len(text) + 1)
    text[at:at] = rng.choice(["{}", " {} ", " {}"]).format(rng.choice(TOKENS))


def sign(rng: random.Random, text: list[str]) -> None:
    """Put a minus sign before a number."""
    places = [at for at, letter in enumerate(text) if letter.isdigit()]
    if places:
        text.insert(rng.choice(places), "-")


def double(rng: random.Random, text: list[str]) -> None:
    """Join two lines without a newline."""
    text[rng.randrange(len(text) + 1) :] = rng.choice(seeds())


def drop(rng: random.Random, text: list[str]) -> None:
    """Delete a word."""
    words = "".join(text).split(" ")
    del words[rng.randrange(len(words))]
    text[:] = " ".join(words)


MUTATIONS: tuple[Callable[[random.Random, list[str]], None], ...] = (flip, cut, insert, sign, double, drop)


def mutate(rng: random.Random, lines: list[str]) -> str:
    """Return a real line after one to five mutations."""
    text = list(rng.choice(lines))
    for _ in range(rng.randint(1, 5)):
        rng.choice(MUTATIONS)(rng, text)
    return "".join(text)


def wrong(line: str, values: Mapping[str, Any]) -> str:
    """Return what is invalid in the values parsed from ``line``; empty if nothing is."""
    json.dumps(values, allow_nan=False)  # raises for anything that is not finite
    words = line.split()
    pairs = set(pairwise(words))
    for rail, watts in values.get("power", {}).items():
        digits = {value.split("/")[0].removesuffix("mW") for name, value in pairs if name == rail}
        if watts < 0 or not any(one.isdigit() and one.isascii() and int(one) == round(watts * 1e3) for one in digits):
            return f"{watts} W on {rail}"
    for zone, degrees in values.get("temperature", {}).items():
        if degrees is not None and not OFFLINE < degrees < 10_000:
            return f"{degrees} degrees in {zone}"
    for each in [*values.get("cpu", ()), *values.get("engines", {}).values()]:
        clocks = each["hz"] if isinstance(each["hz"], list) else [each["hz"]]
        if any(hz is not None and not 0 <= hz < 1e12 for hz in clocks) or not 0 <= (each["load"] or 0.0) <= 1:
            return f"{each}"
    for each in (values.get(name, {}) for name in ("ram", "swap", "iram")):
        if any(not 0 <= value < 2**62 for value in each.values()):
            return f"{each}"
    return ""


def fuzz(lines: int, seed: int) -> dict[str, int]:
    """Parse ``lines`` mutated lines and return how many gave a value. Raises any unexpected error."""
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    real = seeds()
    counts: Counter[str] = Counter(read=0, nothing=0)
    for _ in range(lines):
        line = mutate(rng, real)
        began = time.process_time()
        try:
            values = parse(line)
            problem = wrong(line, values)
        except BaseException:
            print(f"the line that did it: {line!r}", file=sys.stderr)
            raise
        if problem:
            raise AssertionError(f"{problem}: {line!r}")
        if time.process_time() - began > SLOW_SECONDS:
            raise TimeoutError(f"took {time.process_time() - began:.1f} s: {line[:200]!r}")
        counts["read" if "ram" in values else "nothing"] += 1
    return dict(counts)


def main() -> None:
    """Print how many lines gave a value."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"{arguments.lines} lines: {fuzz(arguments.lines, arguments.seed)}")


if __name__ == "__main__":
    main()
