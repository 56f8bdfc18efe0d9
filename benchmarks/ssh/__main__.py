"""The cost of a network between host and board: ``python -m benchmarks.ssh [--quick] [upload] [session] [parity]``.

A real sshd on this machine represents the board. A relay (``relay.py``) adds the delay, if there is one. The two sides
of a comparison alternate, and each figure is the median over pairs of neighbours.

upload: a new random file in each round, from connecting until it is in the store, hashed and synced, compared with
``scp`` with its default cipher and settings. The agent's start, which every session needs, is reported separately. Bar:
at least as fast, without delay and at 40 ms round trip.

session: a second session with an unchanged model, from connecting to the first inference, compared with ``ssh`` and a
bare script that loads the same model with the same runtime. Bar: at most half a second longer, and nothing uploaded.

parity: 1,000 samples at 40 ms round trip, compared with no delay. Both use the relay, which itself takes a sixth of the
time on two processors. Bar: at most 1.3 times the time.

The exit code is 1 if a bar is missed. ``--out FOLDER`` writes the result of a complete run to ``ssh.json``.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from benchmarks import results
from benchmarks.results.judging import network
from benchmarks.ssh import parity, session, upload
from benchmarks.ssh.board import board, program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.ssh.board import Board

    Rows = list[dict[str, Any]]
    Outcome = tuple[str, bool, Rows]

DELAY = 0.020
"""Seconds of delay in each direction, for a round trip of 40 ms."""

UPLOAD_BAR, MORE_BAR, PARITY_BAR = network.UPLOAD_BAR, network.SESSION_BAR, network.PARITY_WAY_BAR
SIZE, SIZE_QUICK = network.UPLOAD_SIZE, 128 * upload.MIB
ROUNDS = {"upload": network.UPLOAD_ROUNDS, "session": network.SESSION_ROUNDS, "parity": network.PARITY_ROUNDS}
ROUNDS_QUICK = {"upload": 1, "session": 3, "parity": 3}


def show(title: str, headings: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a table."""
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def uploads(server: Board, folder: Path, rounds: int, *, quick: bool) -> Outcome:
    """Measure the upload with and without delay. Return the text of the figures, whether the bar is met, and rows."""
    size = SIZE_QUICK if quick else SIZE
    figures: dict[str, float] = {}
    stored: Rows = []
    for delay in (0.0, DELAY):
        way, place = server.way(delay), folder / f"upload-{delay}"
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
        stored += rows_of("upload", pairs, round_trip=round(2000 * delay), size=size)
    shown = ", ".join(f"{figure:.2f} at {name}" for name, figure in figures.items())
    return f"upload {shown} of scp's speed (bar: {UPLOAD_BAR} or more)", min(figures.values()) >= UPLOAD_BAR, stored


def sessions(server: Board, folder: Path, rounds: int, *, quick: bool) -> Outcome:
    """Measure a second session; the bar applies without delay. Without ``quick`` it is also measured with a delay."""
    figures: dict[str, float] = {}
    stored: Rows = []
    uploaded = 0
    for delay in (0.0,) if quick else (0.0, DELAY):
        way, place = server.way(delay), folder / f"session-{delay}"
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
        stored += rows_of("session", pairs, round_trip=round(2000 * delay))
    shown = ", ".join(f"{figure:.2f} s at {name}" for name, figure in figures.items())
    good = figures["0 ms"] <= MORE_BAR and not uploaded
    text = f"second session {shown} more than the bare runtime (bar at 0 ms: {MORE_BAR}), {uploaded} B uploaded"
    return text, good, stored


def parities(server: Board, folder: Path, rounds: int, *, quick: bool) -> Outcome:  # noqa: ARG001 - as uploads
    """Measure parity over the same samples with and without delay."""
    place = folder / "parity"
    place.mkdir()
    pairs = parity.measure(server.way(0.0, relayed=True), server.way(DELAY), place, rounds)
    rows = (
        (str(number), f"{one.near:.3f}", f"{one.far:.3f}", f"{one.ratio:.2f}") for number, one in enumerate(pairs, 1)
    )
    show(f"parity over {parity.SAMPLES:,} samples, one a request", ("round", "0 ms s", "40 ms s", "ratio"), rows)
    figure = statistics.median(one.ratio for one in pairs)
    stored = rows_of("parity", pairs, samples=parity.SAMPLES)
    return f"parity {figure:.2f} times as long at 40 ms (bar: {PARITY_BAR})", figure <= PARITY_BAR, stored


def rows_of(part: str, pairs: Iterable[Any], **what: int) -> Rows:
    """Return the rows of a result's file for the rounds of one part."""
    return [{"part": part, "round": number, **what, **pair._asdict()} for number, pair in enumerate(pairs)]


PARTS: dict[str, Callable[..., Outcome]] = {"upload": uploads, "session": sessions, "parity": parities}


def scp_version() -> str:
    """Return OpenSSH's version as ``ssh`` reports it; ``scp`` cannot report its own."""
    done = subprocess.run([program("ssh"), "-V"], check=True, capture_output=True, text=True)
    return done.stderr.split(",")[0].strip()


def versions() -> dict[str, str]:
    """Return the versions of the software."""
    named = {f"host {name}" if name == "numpy" else name: version(name) for name in ("numpy", "paramiko", "pytest-hil")}
    return {"host python": platform.python_version(), "ssh": scp_version(), **named}


def write_result(folder: Path, rows: Rows) -> None:
    """Write the result and print its path."""
    command = ["python", "-m", "benchmarks.ssh", "--out", folder.name]
    print(results.write(folder, results.result("ssh", rows, command=command, versions=versions(), quick=False)))


def main() -> int:
    """Print the tables; the last line has figures and bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and 128 MiB, within a minute")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where to write the result of a complete run")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="what to measure (default: all)")
    arguments = parser.parse_args()
    if arguments.out is not None:
        if arguments.quick or arguments.parts:
            parser.error("only a complete run is stored: omit --quick and the parts, or --out")
        os.environ["HIL_COMMIT"] = results.commit()  # as it is at the start
    rounds = ROUNDS_QUICK if arguments.quick else ROUNDS
    with tempfile.TemporaryDirectory() as name, board(Path(name) / "board") as server:
        os.environ["XDG_CACHE_HOME"] = str(Path(name) / "cache")
        chosen = arguments.parts or PARTS
        outcomes = [PARTS[part](server, Path(name), rounds[part], quick=arguments.quick) for part in chosen]
    if arguments.out is not None:
        write_result(arguments.out, [row for *_, rows in outcomes for row in rows])
    good = all(held for _, held, _ in outcomes)
    print(f"ssh: {'; '.join(text for text, *_ in outcomes)}: {'held' if good else 'MISSED'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
