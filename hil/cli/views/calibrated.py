"""Carry out ``hil board calibrate``: compare a target's engines with themselves, and store the noise in the history."""

from __future__ import annotations

from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING

import typer
from rich.table import Table
from rich.text import Text

from hil.board.noise import Learned, between_boards, learn, measure
from hil.cli.views.configs import config_at
from hil.cli.views.console import console
from hil.cli.views.histories import history_at
from hil.errors import LabError, UserError, did_you_mean
from hil.history import Noise
from hil.history.entries import between
from hil.stats.control_difference import CONTROL
from hil.stats.power import CAP, runs_needed, visible_effect
from hil.stats.runs import FEWEST

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from hil.board.noise import Key, Values
    from hil.config.load import Config
    from hil.history import History

WORSENING = 0.05
"""The worsening, as a fraction, for which the needed number of runs is printed: the regression checks' ``exclude``."""


def calibrate(target: str, models: Sequence[str], comparisons: int, history: str | None, config: Path | None) -> None:
    """Measure the noise of ``models`` (all if empty) on ``target``, store it in the history and print it.

    The measurement starts only if the history is writable.
    """
    loaded = config_at(config)
    spec = loaded.target(target)
    if spec.kind == "labgrid":
        raise UserError(f"{target} is a lab, whose boards may change: on target {target!r}: write its boards as a pool")
    engines = engines_to_time(loaded, target, models)
    with history_at(history, config, read_only=False) as database:
        database.check()
    measured: dict[str, Values] = {}
    for name in spec.members if spec.kind == "pool" else (target,):
        say = partial(_say, f"{name}: " if spec.kind == "pool" else "")
        at, values = measure(loaded, name, engines, say, comparisons=comparisons)
        if at in measured:
            what = f"{name} is the same board as another member ({at})"
            raise LabError(f"{what}: on target {target!r}: remove one of the two names")
        measured[at] = values
        learned = learn({key: rows for key, rows in values.items() if key[0] != CONTROL})
        with history_at(history, config, read_only=False) as database:
            store_noise(database, at, name, learned)
        print_noise(at, learned)
    if spec.kind == "pool":
        spreads = between_boards(measured)
        when = datetime.now(timezone.utc)
        with history_at(history, config, read_only=False) as database:
            for (check, model, precision), spread in spreads.items():
                entry = Noise(between(measured), target, check, model, precision, spread, 0.0, comparisons, when)
                database.add_noise(entry)
        print_between(target, measured, spreads)


def _say(before: str, line: str) -> None:
    typer.echo(before + line, err=True)


def engines_to_time(config: Config, target: str, models: Sequence[str]) -> list[tuple[str, str]]:
    """Return model and precision of each engine of ``models``; of all models if ``models`` is empty.

    Raise ``UserError`` for an unknown model.
    """
    known = list(config.spec.models)
    for name in models:
        if name not in known:
            raise UserError(f"--model {name}: there is no such model in {config.path.name}{did_you_mean(name, known)}")
    return [
        (name, precision)
        for name in known
        if not models or name in models
        for precision in config.model(name, target).precisions
    ]


def store_noise(history: History, at: str, target: str, learned: Sequence[Learned]) -> None:
    """Add the noise of the machine ``at`` to the history; comparisons use the newest entry.

    ``at`` is the serial number of the board, else the identity that ``hil.baseline.machine`` returns.
    """
    when = datetime.now(timezone.utc)
    for row in learned:
        check, model, precision = row.key
        share = row.alarms / row.comparisons
        history.add_noise(Noise(at, target, check, model, precision, row.sessions, share, row.comparisons, when))


def print_noise(at: str, learned: Sequence[Learned]) -> None:
    """Print a table for each engine: spread, false alarms, the worsening that few runs detect, and required runs."""
    out = console()
    out.soft_wrap = False  # tables are drawn to the terminal's width
    out.print(Text(f"{at}: measured and stored in the history; comparisons on this machine now allow for this noise"))
    for engine in dict.fromkeys(row.key[1:] for row in learned):
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for name in (
            " ".join(engine),
            "runs",
            "sessions",
            "false alarms",
            f"{FEWEST} runs detect",
            f"{WORSENING:.0%} needs",
        ):
            table.add_column(Text(name), justify="right" if table.columns else "left", no_wrap=True)
        for row in learned:
            if row.key[1:] == engine:
                table.add_row(*(Text(cell) for cell in _cells(row)))
        out.print(table)
    out.print("columns: how much runs of one session differ, and how much sessions differ;")
    out.print("false alarms without and with an allowance for the noise between sessions;")
    out.print(
        f"last two columns: the change that {FEWEST} runs per side detect, "
        f"and how many runs per side detect {WORSENING:.0%},"
    )
    out.print("each with a statistical power of 90 %")


def print_between(target: str, boards: Collection[str], spreads: Mapping[Key, float]) -> None:
    """Print how much the boards of a pool differ in each row."""
    out = console()
    out.print(Text(f"{target}: the most by which two of the boards {', '.join(boards)} differ, at 99 %:"))
    for key, spread in spreads.items():
        out.print(Text(f"  {' '.join(filter(None, key))}: {_percent(spread)}"))
    out.print("hil compare now compares these rows across these boards")


def _cells(row: Learned) -> tuple[str, ...]:
    detectable = visible_effect(FEWEST, row.runs, noise=row.sessions)
    needed = runs_needed(row.runs, WORSENING, noise=row.sessions)
    return (
        row.key[0],
        _percent(row.runs),
        _percent(row.sessions),
        f"{row.unaware} → {row.alarms} of {row.comparisons}",
        _percent(detectable) if detectable < 1 else "nothing",
        f"over {CAP} runs" if needed is None else f"{needed} runs",
    )


def _percent(value: float) -> str:
    return f"{value * 100:.2g} %"
