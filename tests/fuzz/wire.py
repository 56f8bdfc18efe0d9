"""Feeds mutated frames to the reader: ``python -m tests.fuzz.wire [--frames 100000] [--seed 0]``.

Each must be read or refused with ``WireError`` within a second. Anything else ends the run and prints the frame.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.agent.protocol import arrays, wire
from hil.agent.protocol.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Callable

SLOW_SECONDS = 1.0
PIPE_ROOM = 60_000  # less than a pipe holds, so that one process can write and then read
TOKENS = (
    b"NaN",
    b"null",
    b"-1",
    b"1e400",
    b'"',
    b"[",
    b"{",
    b"}",
    b"\x00",
    b"\xff\xfe",
    b"9" * 40,
    b"[" * 3000,
    b'"\\ud800"',
)


def seeds(rng: random.Random) -> bytes:
    """Return a well-formed frame to mutate."""
    named = []
    for at in range(rng.randrange(4)):
        shape = [rng.randrange(4) for _ in range(rng.randrange(4))]
        named.append((f"t{at}", np.zeros(shape, arrays.dtype_of(rng.choice(sorted(wire.ITEM_SIZES))))))
    listing, chunks = arrays.describe(named)
    body = b"".join(bytes(chunk) for chunk in chunks)
    header = {"op": rng.choice(["run", "time", "hold"]), "id": rng.randrange(1 << 40), "x": [1.5, None, {"y": "ä"}]}
    return bytes(wire.encode(dict(header, arrays=listing), len(body))) + body


def flip(rng: random.Random, data: bytearray) -> None:
    """Flip one bit."""
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def cut(rng: random.Random, data: bytearray) -> None:
    """Cut off the end."""
    del data[rng.randrange(len(data)) :]


def insert(rng: random.Random, data: bytearray) -> None:
    """Insert a token that parsers often fail on."""
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.choice(TOKENS)


def swap_number(rng: random.Random, data: bytearray) -> None:
    """Change a digit of the header."""
    places = [at for at, byte in enumerate(data) if 0x30 <= byte <= 0x39]
    if places:
        data[rng.choice(places)] = rng.randrange(0x30, 0x3A)


def repair(rng: random.Random, data: bytearray) -> None:  # noqa: ARG001 - one of the mutations
    """Set the lengths to the actual sizes, so that the reader gets past the header."""
    end = data.rfind(b"}") + 1
    if end > wire.HEAD.size:
        wire.HEAD.pack_into(data, 0, wire.MAGIC, end - wire.HEAD.size, len(data) - end)


MUTATIONS: tuple[Callable[[random.Random, bytearray], None], ...] = (flip, cut, insert, swap_number, repair)


def mutate(rng: random.Random) -> bytes:
    """Return a frame after one to four mutations; in two of three cases its lengths are repaired."""
    data = bytearray(seeds(rng))
    for _ in range(rng.randint(1, 4)):
        if data:
            rng.choice(MUTATIONS)(rng, data)
    if rng.random() < 2 / 3 and len(data) > wire.HEAD.size:
        repair(rng, data)
    return bytes(data[:PIPE_ROOM])


def read(data: bytes) -> None:
    """Read one frame through a pipe, as the supervisor does."""
    read_fd, write_fd = os.pipe()
    try:
        os.write(write_fd, data)
        os.close(write_fd)
        channel = Channel(read_fd, read_fd)
        header = channel.receive()
        found = wire.slots(header, channel.pending)
        arrays.views(channel.take(), found)
    finally:
        os.close(read_fd)


def fuzz(frames: int, seed: int) -> dict[str, Any]:
    """Read ``frames`` mutated frames and return how many were accepted and refused. Raises any unexpected error."""
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    counts: Counter[str] = Counter(read=0, refused=0)
    for _ in range(frames):
        data = mutate(rng)
        began = time.monotonic()
        try:
            read(data)
            counts["read"] += 1
        except wire.WireError:
            counts["refused"] += 1
        except BaseException:
            print(f"the frame that did it: {data!r}", file=sys.stderr)
            raise
        if time.monotonic() - began > SLOW_SECONDS:
            raise TimeoutError(f"took {time.monotonic() - began:.1f} s: {data[:200]!r}")
    return dict(counts)


def main() -> None:
    """Print how many frames were accepted and refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"{arguments.frames} frames: {fuzz(arguments.frames, arguments.seed)}")


if __name__ == "__main__":
    main()
