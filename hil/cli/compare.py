"""``hil compare BASE CAND``: what got worse, by how much, with which confidence, and what changed."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hil.cli.views.configs import config_at
from hil.cli.views.console import console
from hil.cli.views.histories import history_at
from hil.errors import ExitCode, UserError

if TYPE_CHECKING:
    from hil.compare import Document, Settings


class By(str, Enum):
    """What each column of a matrix stands for."""

    JETPACK = "jetpack"
    COMMIT = "commit"
    TARGET = "target"


def command(  # noqa: PLR0913, PLR0917 - options, given by name
    base: Annotated[
        str | None,
        typer.Argument(
            metavar="BASE", help="The base: a run's id, latest~1, jetpack:6.2, commit:SHA, …, or a report.json."
        ),
    ] = None,
    cand: Annotated[str | None, typer.Argument(metavar="CAND", help="The candidate, in the same forms.")] = None,
    by: Annotated[
        By | None,
        typer.Option(
            "--by",
            help="Compare the history's newest runs as a matrix, a column per JetPack release, commit or target.",
        ),
    ] = None,
    base_column: Annotated[
        str | None,
        typer.Option("--base", metavar="NAME", help="The column of the matrix to compare with; default: the oldest."),
    ] = None,
    model: Annotated[str | None, typer.Option("--model", metavar="M", help="Only this model.")] = None,
    target: Annotated[str | None, typer.Option("--target", metavar="T", help="Only runs on this target.")] = None,
    row: Annotated[
        list[str] | None,
        typer.Option(
            "--row",
            metavar="ROW",
            help="A row that decides the exit code: latency.p99, 'latency.* detector', 'memory.peak detector int8'; "
            "may be repeated. Default: p50, and rows with a limit or a regression table.",
        ),
    ] = None,
    above: Annotated[str, typer.Option("--above", help="Changes up to this size count as unchanged.")] = "1 %",
    exclude: Annotated[str, typer.Option("--exclude", help="The worsening that the data must exclude.")] = "5 %",
    across_boards: Annotated[  # noqa: FBT002 - an option
        bool, typer.Option("--across-boards", help="Judge runs of different machines as if they were of one machine.")
    ] = False,
    as_json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the comparison as JSON.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write it as Markdown, for a merge request.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write it as one HTML page.")] = None,
    history: Annotated[
        str | None, typer.Option("--history", metavar="URL", help="The history; default: the one in hil.toml.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The config; default: the nearest hil.toml.")
    ] = None,
) -> int:
    """Compare two runs, or the JetPack releases, commits or targets of the history.

    Numbers measured by different methods are refused. Numbers of different machines are marked as confounded. The rows
    that count decide the exit code; the others are shown as information. Exit code 0: a row that counts was judged, and
    no such row is worse, unclear, confounded, missing or refused; 1: otherwise; 4: a mistake on the command line.

    [bold]Examples[/bold]

      hil compare latest~1 latest

      hil compare latest~1 latest --row latency.p99 --row "memory.* detector"

      hil compare jetpack:6.2 jetpack:7.2 --model detector --markdown comparison.md

      hil compare --by jetpack --model detector --html matrix.html

      hil compare old/report.json report/report.json
    """
    asked = {"rows": tuple(row or ()), "regression": _regression_models(config)}
    settings = _settings(above, exclude, across_boards=across_boards).model_copy(update=asked)
    if by is None:
        if base is None or cand is None:
            raise UserError("hil compare needs two sides: write hil compare BASE CAND, or hil compare --by jetpack")
        if base_column is not None:
            raise UserError("--base names a column of a matrix: give --by too, or write BASE as the first argument")
        comparison = _two(base, cand, settings, (model, target), (history, config))
    else:
        if base is not None:
            raise UserError(f"{base}: --by compares groups of runs, not one run: name a column with --base instead")
        comparison = _matrix(by, base_column, settings, (model, target), (history, config))
    _write(comparison, {"json": as_json, "markdown": markdown, "html": html})
    _show(comparison)
    return int(ExitCode.PASSED if comparison.passed else ExitCode.FAILED)


def _regression_models(path: Path | None) -> tuple[str, ...]:
    """Return the models that have a ``regression`` table for any target in the config ``path``.

    ``None`` means the nearest ``hil.toml``; without one, no model is returned.
    """
    from hil.config.find_config import find

    if path is None and find(Path.cwd()) is None:
        return ()
    config = config_at(path)
    targets = (*config.spec.targets, "cpu")
    return tuple(
        name
        for name in config.spec.models
        if any("regression" in config.model(name, target).limits.model_fields_set for target in targets)
    )


def _settings(above: str, exclude: str, *, across_boards: bool) -> Settings:
    from hil.compare import Settings

    least, most = _fraction("--above", above), _fraction("--exclude", exclude)
    if least > most:
        raise UserError(f"--above {above} is larger than --exclude {exclude}: give --exclude the larger value")
    return Settings(above=least, exclude=most, across_boards=across_boards)


def _fraction(option: str, text: str) -> float:
    from hil.units import Dimension, parse

    try:
        value = parse(text, Dimension.FRACTION)
    except ValueError as error:
        raise UserError(f"{option} {text}: {error}") from None
    if not 0 < value < 1:
        raise UserError(f"{option} {text} is out of range: write more than 0 % and less than 100 %, e.g. '5 %'")
    return value


def _two(
    base: str, cand: str, settings: Settings, only: tuple[str | None, str | None], where: tuple[str | None, Path | None]
) -> Document:
    from hil.compare import Side, compare, document
    from hil.compare.select_runs import history_facts_of, is_path, side_of_history, side_of_reports

    model, target = only
    if is_path(base) and is_path(cand):
        sides = [side_of_reports(ref, model) for ref in (base, cand)]
        return document([compare(sides[0], sides[1], settings)], settings, model=model)
    with history_at(*where) as history:

        def side(ref: str) -> Side:
            return side_of_reports(ref, model) if is_path(ref) else side_of_history(history, ref, model, target)

        compared = compare(side(base), side(cand), settings, history_facts_of(history, model))
    return document([compared], settings, model=model)


def _matrix(
    by: By,
    base: str | None,
    settings: Settings,
    only: tuple[str | None, str | None],
    where: tuple[str | None, Path | None],
) -> Document:
    from hil.compare import against_base, document, sides_by
    from hil.compare.select_runs import facts_of, history_facts_of

    model, target = only
    with history_at(*where) as history:
        points = history.matrix(by.value, model=model, target=target)
        sides = sides_by(points, by.value, *facts_of(history, points))
        compared = against_base(sides, base, settings, history_facts_of(history, model))
    return document(compared, settings, by=by.value, model=model)


def _write(comparison: Document, files: dict[str, Path | None]) -> None:
    from hil.compare.write_files import write

    for kind, path in files.items():
        if path is not None:
            write(comparison, kind, path)


def _show(comparison: Document) -> None:
    from hil.compare import terminal

    out = console()
    out.soft_wrap = False  # tables are drawn to the terminal's width
    for part in terminal.renderables(comparison):
        out.print(part)
