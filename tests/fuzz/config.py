"""Feeds mutated configs to the reader: ``python -m tests.fuzz.config [--configs 10000] [--seed 0]``.

Each must be loaded or refused with ``UserError`` within two seconds. Anything else ends the run and prints the config.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from hil.config.load import load
from hil.errors import UserError
from tests.config.example import EXAMPLE, project

if TYPE_CHECKING:
    from collections.abc import Callable

SLOW_SECONDS = 2.0
VALUES = (
    *(
        '""',
        '"x"',
        "0",
        "-1",
        "1e400",
        "nan",
        "-inf",
        "true",
        "[]",
        "[1, 2]",
        "{}",
        "{ a = 1 }",
        "1979-05-27",
        "'''\n'''",
    ),
    *(
        '"5 MiB"',
        '"5 ms"',
        '"-3 %"',
        '"\\u0000"',
        '"\\uD7FF"',
        '"../../.."',
        '"synthetic"',
        '"a.b:c"',
        '["int8"]',
        "9" * 30,
    ),
    *('"' + "x" * 5000 + '"', "[" * 200 + "]" * 200, "{a=" * 60 + "1" + "}" * 60, '["fp32", 3, ["int8"]]', "[[], {}]"),
)
TOKENS = (
    *(
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        "=",
        ".",
        ",",
        '"',
        '"""',
        "'",
        "'''",
        "#",
        "\n",
        "\r",
        "\\",
        "\x00",
        "é",
        "\ufeff",
    ),
    *(
        "[models]\n",
        "[[models]]\n",
        "[a.b.c]\n",
        "x = 1\n",
        "a.b.c = 1\n",
        '"" = 1\n',
        "inf",
        "[models.digits.on.cpu]\n",
    ),
)
Lines = list[str]


def flip(rng: random.Random, lines: Lines) -> Lines:
    """Flip one bit of one byte; invalid UTF-8 is kept as surrogates."""
    data = bytearray("\n".join(lines).encode("utf-8", "surrogateescape"))
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data.decode("utf-8", "surrogateescape").split("\n")


def delete(rng: random.Random, lines: Lines) -> Lines:
    """Delete one line."""
    at = rng.randrange(len(lines))
    return lines[:at] + lines[at + 1 :]


def double(rng: random.Random, lines: Lines) -> Lines:
    """Insert a copy of a line at another place."""
    at = rng.randrange(len(lines) + 1)
    return [*lines[:at], rng.choice(lines), *lines[at:]]


def swap_value(rng: random.Random, lines: Lines) -> Lines:
    """Replace a value, usually by one of another type."""
    places = [at for at, line in enumerate(lines) if "=" in line]
    if not places:
        return lines
    at = rng.choice(places)
    return [*lines[:at], f"{lines[at].partition('=')[0]}= {rng.choice(VALUES)}", *lines[at + 1 :]]


def rename(rng: random.Random, lines: Lines) -> Lines:
    """Misspell one word."""
    at = rng.randrange(len(lines))
    word = list(lines[at])
    if len(word) > 1:
        one = rng.randrange(len(word) - 1)
        word[one], word[one + 1] = word[one + 1], word[one]
    return [*lines[:at], "".join(word), *lines[at + 1 :]]


def insert(rng: random.Random, lines: Lines) -> Lines:
    """Insert a token that parsers often fail on."""
    text = "\n".join(lines)
    at = rng.randrange(len(text) + 1)
    return (text[:at] + rng.choice(TOKENS) + text[at:]).split("\n")


MUTATIONS: tuple[Callable[[random.Random, Lines], Lines], ...] = (flip, delete, double, swap_value, rename, insert)


def mutate(rng: random.Random) -> bytes:
    """Return the example after one to six mutations."""
    lines = EXAMPLE.split("\n")
    for _ in range(rng.randint(1, 6)):
        lines = rng.choice(MUTATIONS)(rng, lines or [""])
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def fuzz(configs: int, seed: int) -> dict[str, int]:
    """Load ``configs`` mutated configs and return how many were loaded and refused. Raises any unexpected error."""
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    counts: Counter[str] = Counter(loaded=0, refused=0)
    with TemporaryDirectory() as folder:
        path = project(Path(folder))
        for _ in range(configs):
            data = mutate(rng)
            path.write_bytes(data)
            began = time.monotonic()
            try:
                load(path)
                counts["loaded"] += 1
            except UserError as error:
                counts["refused"] += 1
                if "hil.toml" not in str(error):
                    raise AssertionError(f"names no file: {error}: {data!r}") from error
            except BaseException:
                print(f"the config that did it: {data!r}", file=sys.stderr)
                raise
            if time.monotonic() - began > SLOW_SECONDS:
                raise TimeoutError(f"took {time.monotonic() - began:.1f} s: {data!r}")
    return dict(counts)


def main() -> None:
    """Print how many configs were loaded and refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"{arguments.configs} configs: {fuzz(arguments.configs, arguments.seed)}")


if __name__ == "__main__":
    main()
