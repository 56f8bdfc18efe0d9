"""What ``hil board calibrate`` does: A/A sessions on a target, and what they taught into the history."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

import typer
from rich.table import Table
from rich.text import Text

from hil.board.noise import Learned, learn, measure
from hil.cli.views.configs import config_at
from hil.cli.views.console import console
from hil.cli.views.histories import history_at
from hil.errors import UserError, did_you_mean
from hil.history import Noise
from hil.stats.power import CAP, runs_needed, visible_effect
from hil.stats.runs import FEWEST

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hil.config.load import Config
    from hil.history import History

WANTED = 0.05
"""The worsening that the printed number of runs is for; what regression checks exclude if nobody says otherwise."""


def calibrated(target: str, models: Sequence[str], comparisons: int, history: str | None, config: Path | None) -> None:
    """Measures, keeps and shows. The history is seen to be writable before anything is timed."""
    found = config_at(config)
    found.target(target)
    engines = wanted(found, target, models)
    with history_at(history, config, read_only=False) as kept:
        kept.check()
    at, values = measure(found, target, engines, lambda line: typer.echo(line, err=True), comparisons=comparisons)
    learned = learn(values)
    with history_at(history, config, read_only=False) as kept:
        keep(kept, at, target, learned)
    show(at, learned)


def wanted(config: Config, target: str, models: Sequence[str]) -> list[tuple[str, str]]:
    """The engines to time, by model and precision. Raises ``UserError`` for a model that ``hil.toml`` has not."""
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


def keep(history: History, at: str, target: str, learned: Sequence[Learned]) -> None:
    """Adds what was learned of the machine ``at``; the last that was learned of a row is what counts."""
    when = datetime.now(timezone.utc)
    for one in learned:
        check, model, precision = one.key
        share = one.alarms / one.comparisons
        history.add_noise(Noise(at, target, check, model, precision, one.sessions, share, one.comparisons, when))


def show(at: str, learned: Sequence[Learned]) -> None:
    """A table an engine: how much runs and sessions differ, what was told wrongly, what five runs a side can see."""
    out = console()
    out.soft_wrap = False  # tables are drawn to the width that is there
    out.print(Text(f"{at}: learned and kept; comparisons on it allow for this from now on"))
    for engine in dict.fromkeys(one.key[1:] for one in learned):
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for name in (" ".join(engine), "runs", "sessions", "false alarms", f"{FEWEST} runs see", f"{WANTED:.0%} takes"):
            table.add_column(Text(name), justify="right" if table.columns else "left", no_wrap=True)
        for one in learned:
            if one.key[1:] == engine:
                table.add_row(*(Text(cell) for cell in _row(one)))
        out.print(table)
    out.print("runs, sessions: how much they differ; false alarms: without and with that known;")
    out.print("the last two: the change found with 90 %, and the runs a side that find it")


def _row(one: Learned) -> tuple[str, ...]:
    sees = visible_effect(FEWEST, one.runs, noise=one.sessions)
    needed = runs_needed(one.runs, WANTED, noise=one.sessions)
    return (
        one.key[0],
        _percent(one.runs),
        _percent(one.sessions),
        f"{one.unaware} → {one.alarms} of {one.comparisons}",
        _percent(sees) if sees < 1 else "nothing",
        f"over {CAP} runs" if needed is None else f"{needed} runs",
    )


def _percent(value: float) -> str:
    return f"{value * 100:.2g} %"
