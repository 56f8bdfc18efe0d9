"""Print what ``hil int8 tune`` measured, and write its result into hil.toml."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from hil.cli.views.console import console
from hil.config.rewrite import with_strings
from hil.config.toml_text import read_text
from hil.errors import UserError
from hil.report.shown_text import one_line, printable
from hil.session.int8_trials import WORTH

if TYPE_CHECKING:
    from hil.config.load import Config
    from hil.quantize.tuning import Search, Trial
    from hil.session.int8_trials import Trials

REASON = 90
"""The most characters of a reason that are shown for a check that did not pass."""


def print_search(trials: Trials, search: Search) -> None:
    """Print a table of the trials, the one with the largest share in INT8 first: share, speed and missed tolerances."""
    out = console()
    out.soft_wrap = False
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("in INT8", "nodes in float", f"speed over {trials.over}"):
        table.add_column(name, no_wrap=True, justify="right")
    table.add_column("tolerances", overflow="fold")
    for trial in sorted(search.trials, key=lambda one: (-one.share, len(one.keep))):
        held = Text("✓ hold", "green") if trial.holds else Text(f"✗ {_missed(trial)}", "red")
        table.add_row(f"{trial.share:.1%}", str(len(trial.keep)), _speed(trial), held)
    out.print(Text(f"in INT8: share of the layers' multiply-adds; {trials.built} builds in this call", style="dim"))
    out.print(table)


def _missed(trial: Trial) -> str:
    if not trial.missed:
        return "no tolerance was judged"
    return "; ".join(f"{check}: {one_line(reason, REASON)}" for check, reason in trial.missed.items())


def _speed(trial: Trial) -> str:
    return "–" if trial.speedup is None else f"{trial.speedup:.2f} x"


def recommend(  # noqa: PLR0913 - the outcome, and where it is written
    config: Config, model: str, target: str, trials: Trials, search: Search, *, write: bool
) -> None:
    """Print what to do after ``search``, the trials of ``hil int8 tune``.

    If nodes must stay in floating point, write them into the calibration table of hil.toml; without ``write``, or if
    that table has no header of its own, print them. Raise ``UserError`` if hil.toml cannot be written.
    """
    out, best, over = console(), search.best, trials.over
    full = next(trial for trial in search.trials if not trial.keep)
    if full.speedup is None:
        out.print(Text(f"the speed over {over} was not measured on {target}", style="yellow"))
    elif full.speedup < WORTH:
        much = f"full INT8 is {full.speedup:.2f} times as fast as {over} on {target}, which is less than {WORTH:g}"
        out.print(Text(f"{much}: use {over} instead, unless the smaller engine is worth it", style="yellow"))
    if best is None:
        undecided = next((trial for trial in search.trials if trial.missed and not trial.failed), None)
        more = "try more --builds" if trials.built >= trials.limit else "check the calibration with hil int8 audit"
        out.print(Text(f"the tolerances of {model} hold in no trial: use {over}, or {more}", style="red"))
        if undecided is not None:
            many = f"undecided with {len(undecided.keep)} nodes in floating point"
            for check, reason in undecided.missed.items():
                out.print(Text(f"{many}: {check}: {printable(reason)}", style="yellow"))
    elif not best.keep:
        out.print(Text(f"the tolerances of {model} hold in full INT8: hil.toml needs no change", style="green"))
    else:
        spec = config.model(model, target).calibration
        _write(config, model, [*(spec.exclude_nodes if spec is not None else ()), *best.keep], write=write)


def _write(config: Config, model: str, nodes: list[str], *, write: bool) -> None:
    """Write ``nodes`` into the model's calibration table; print them if ``write`` is false or it has no header."""
    out = console()
    text, data = read_text(config.path)
    table = ("models", model, "calibration")
    changed = with_strings(text, table, "exclude_nodes", nodes) if write else None
    name = f"[{'.'.join(table)}]"
    if changed is None:
        names = ", ".join(json.dumps(node, ensure_ascii=False) for node in nodes)
        out.print(Text(f"to keep these nodes in floating point, add to {name}:", style="cyan"))
        out.print(Text(f"  exclude_nodes = [{printable(names)}]", style="cyan"))
        return
    mark = b"\xef\xbb\xbf" if data.startswith(b"\xef\xbb\xbf") else b""
    partial = config.path.with_name(f".{config.path.name}.new")
    try:
        partial.write_bytes(mark + changed.encode())
        partial.replace(config.path)
    except OSError as error:
        raise UserError(f"{config.path} cannot be written ({error.strerror}): run again with --no-write") from None
    out.print(Text(f"wrote exclude_nodes with {len(nodes)} nodes to {name} of {config.path.name}", style="green"))
