"""What a network between host and board costs: ``python -m benchmarks.ssh [--quick] [upload] [session] [parity]``.

A real sshd on this machine stands in for the board; where a delay is wanted, a relay (``relay.py``) lies between. Sides
take turns, and each figure is the median over pairs of neighbours.

upload: a new random file each round, connecting and all until it is in the store, hashed and synced, against ``scp`` of
it with its own default cipher and settings. The agent's start, which every session has, is told beside it. Bar: as fast
at least, without delay and at 40 ms round trip.
session: a second session on an unchanged model, from connecting to the first inference, against ``ssh`` and a bare
script that loads the same model with the same runtime. Bar: half a second more, and nothing uploaded.
parity: 1,000 samples at 40 ms round trip against none. Bar: 1.3 times the time.
Exit code 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from benchmarks.ssh import parity, session, upload
from benchmarks.ssh.board import board, program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.ssh.board import Board

    Said = tuple[str, bool]

DELAY = 0.020
"""Seconds that each direction takes where the round trip is 40 ms."""

UPLOAD_BAR, MORE_BAR, PARITY_BAR = 1.0, 0.5, 1.3
SIZE, SIZE_QUICK = 512 * upload.MIB, 128 * upload.MIB
ROUNDS = {"upload": 5, "session": 7, "parity": 7}
ROUNDS_QUICK = {"upload": 1, "session": 3, "parity": 3}


def show(title: str, headings: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """One table."""
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def uploads(there: Board, folder: Path, rounds: int, *, quick: bool) -> Said:
    """Both round trips."""
    size = SIZE_QUICK if quick else SIZE
    figures = {}
    for delay in (0.0, DELAY):
        way, place = there.way(delay), folder / f"upload-{delay}"
        place.mkdir()
        pairs = upload.measure(way, place, size, rounds)
        rate = size / 1e6
        show(
            f"{size // upload.MIB} MiB at {way.name} round trip; scp: {scp_version()}, its defaults",
            ("round", "ours s", "MB/s", "scp s", "MB/s", "ratio", "start s", "ratio with start"),
            (
                (
                    *(str(number), f"{one.ours:.2f}", f"{rate / one.ours:.0f}", f"{one.scp:.2f}"),
                    *(f"{rate / one.scp:.0f}", f"{one.ratio:.2f}", f"{one.start:.2f}", f"{one.strict:.2f}"),
                )
                for number, one in enumerate(pairs, 1)
            ),
        )
        figures[way.name] = statistics.median(one.ratio for one in pairs)
    told = ", ".join(f"{figure:.2f} at {name}" for name, figure in figures.items())
    return f"upload {told} of scp's speed (bar: {UPLOAD_BAR} or more)", min(figures.values()) >= UPLOAD_BAR


def sessions(there: Board, folder: Path, rounds: int, *, quick: bool) -> Said:
    """Without a delay, which is what the bar is for; with one for information, where there is time."""
    figures, uploaded = {}, 0
    for delay in (0.0,) if quick else (0.0, DELAY):
        way, place = there.way(delay), folder / f"session-{delay}"
        place.mkdir()
        pairs = session.measure(way, place, rounds)
        uploaded += sum(one.uploaded for one in pairs)
        rows = (
            (str(number), f"{one.ours:.3f}", f"{one.bare:.3f}", f"{one.more:.3f}", f"{one.uploaded}")
            for number, one in enumerate(pairs, 1)
        )
        heading = ("round", "session s", "ssh and bare runtime s", "more s", "bytes uploaded")
        show(f"second session, from connecting to the first inference, at {way.name} round trip", heading, rows)
        figures[way.name] = statistics.median(one.more for one in pairs)
    told = ", ".join(f"{figure:.2f} s at {name}" for name, figure in figures.items())
    good = figures["0 ms"] <= MORE_BAR and not uploaded
    return f"second session {told} more than the bare runtime (bar at 0 ms: {MORE_BAR}), {uploaded} B uploaded", good


def parities(there: Board, folder: Path, rounds: int, *, quick: bool) -> Said:  # noqa: ARG001 - as uploads
    """The same samples on both ways."""
    place = folder / "parity"
    place.mkdir()
    pairs = parity.measure(there.way(0.0), there.way(DELAY), place, rounds)
    rows = (
        (str(number), f"{one.near:.3f}", f"{one.far:.3f}", f"{one.ratio:.2f}") for number, one in enumerate(pairs, 1)
    )
    show(f"parity over {parity.SAMPLES:,} samples, one a request", ("round", "0 ms s", "40 ms s", "ratio"), rows)
    figure = statistics.median(one.ratio for one in pairs)
    return f"parity {figure:.2f} times as long at 40 ms (bar: {PARITY_BAR})", figure <= PARITY_BAR


PARTS: dict[str, Callable[..., Said]] = {"upload": uploads, "session": sessions, "parity": parities}


def scp_version() -> str:
    """What ``ssh`` says that it is; ``scp`` says nothing of itself."""
    done = subprocess.run([program("ssh"), "-V"], check=True, capture_output=True, text=True)
    return done.stderr.split(",")[0].strip()


def main() -> int:
    """Prints the tables; the last line holds figures and bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and 128 MiB, within a minute")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="what to measure (default: all)")
    arguments = parser.parse_args()
    rounds = ROUNDS_QUICK if arguments.quick else ROUNDS
    with tempfile.TemporaryDirectory() as name, board(Path(name) / "board") as there:
        os.environ["XDG_CACHE_HOME"] = str(Path(name) / "cache")
        chosen = arguments.parts or PARTS
        said = [PARTS[part](there, Path(name), rounds[part], quick=arguments.quick) for part in chosen]
    good = all(held for _, held in said)
    print(f"ssh: {'; '.join(text for text, _ in said)}: {'held' if good else 'MISSED'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
