"""``hil init MODEL.onnx …``: write a ``hil.toml`` that runs without changes, or add models to an existing one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hil.cli.views.console import console
from hil.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hil.proposals.search import Proposal


def command(
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL.onnx…", help="One or several ONNX files; they are not changed.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file to write; models are added to an existing one.")
    ] = Path("hil.toml"),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,  # noqa: FBT002 - an option
) -> None:
    """Write a commented hil.toml for one or several models, ready to run on random data.

    The sizes of dynamic dimensions are found by trial runs. Everything that is guessed is listed under the key
    "guessed". Models are added at the end of an existing file.

    [bold]Examples[/bold]

      hil init models/detector.onnx

      hil init models/detector.onnx models/reader.onnx

      hil init detector.onnx --output robot/hil.toml --force
    """
    from hil.cli.views.run_length import print_length
    from hil.cli.views.starter import model_table, starter
    from hil.proposals.config_file import add_tables, write_checked

    adding = os.path.lexists(output) and not force
    names = _names(models, output, adding=adding)
    if not output.absolute().parent.is_dir():
        raise UserError(f"cannot write {output} (there is no such folder): name another file with --output FILE")
    proposals = _proposals(names)
    folder = output.absolute().parent
    tables = [
        model_table(proposals[name], os.path.relpath(path.absolute(), folder), name) for name, path in names.items()
    ]
    if adding:
        add_tables(output, "\n".join(tables), names)
    else:
        write_checked(output, starter(tables).encode())
    _print_summary(output, proposals, adding=adding)
    print_length(output)


def _names(models: Sequence[Path], output: Path, *, adding: bool) -> dict[str, Path]:
    """Return a name for each model. Raise ``UserError`` for a model that is listed twice or in ``output`` already."""
    from hil.cli.views.starter import model_name
    from hil.proposals.config_file import existing_models

    known = existing_models(output) if adding else {}
    files = {(output.absolute().parent / path).resolve(): name for name, path in known.items()}
    names: dict[str, Path] = {}
    for model in models:
        if files.get(model.resolve()) in names:
            raise UserError(f"{model} is listed twice: name each model once")
        if model.resolve() in files:
            raise UserError(
                f"{model} is model {files[model.resolve()]} of {output} already: --force replaces the file, "
                "--output FILE writes another file"
            )
        name = model_name(model, {*known, *names})
        names[name] = model
        files[model.resolve()] = name
    return names


def _proposals(names: Mapping[str, Path]) -> dict[str, Proposal]:
    """Return the proposal for each model, by name; on a terminal, show the current trial run meanwhile.

    ``names`` maps names to ONNX files. Raise ``UserError`` if a file cannot be read or is quantized already.
    """
    from rich.markup import escape

    from hil.onnx_files.signature import read_signature
    from hil.proposals.search import propose
    from hil.proposals.trials import TrialProcess
    from hil.session.preflight import check_unquantized

    found = {}
    with console(stderr=True).status("") as status, TrialProcess() as process:
        for name, path in names.items():

            def notify(line: str, name: str = name) -> None:
                status.update(escape(f"{name}: {line}"))

            notify("reading the file")
            check_unquantized(read_signature(path), path.name, name)
            found[name] = propose(path, name, process, notify=notify)
    return found


def _print_summary(output: Path, proposals: Mapping[str, Proposal], *, adding: bool) -> None:
    from rich.markup import escape

    from hil.cli.views.starter import NOT_RUN
    from hil.config.explain import written
    from hil.onnx_files.random_operators import REPEATABLE

    screen = console()
    screen.print(f"[bold green]{'added to' if adding else 'wrote'}[/] {escape(str(output))}")
    for name, proposal in proposals.items():
        kind = "" if proposal.family is None else f", recognized as a {proposal.family.family.name}"
        screen.print(f"  [bold]{escape(name)}[/]{kind}")
        for way, specs in (("input ", proposal.signature.inputs), ("output", proposal.signature.outputs)):
            for spec in specs:
                screen.print(f"    {way}  {escape(str(spec))}")
        for key in proposal.guessed:
            screen.print(f"    [yellow]guessed[/] {escape(written(key))}")
        if proposal.empty:
            screen.print(f"    [bold yellow]warning:[/] {escape(_empty(proposal))}")
        if proposal.drawn:
            screen.print(f"    [bold yellow]warning:[/] {escape(f'{proposal.drawn}: {NOT_RUN}: {REPEATABLE}')}")
    screen.print(
        '[bold yellow]warning:[/] the data is random (data = "synthetic"): it shows that a model runs, '
        "but never satisfies a gate for a robot"
    )
    if any(proposal.guessed for proposal in proposals.values()):
        screen.print(
            "[bold yellow]warning:[/] a run with guesses is warned at best, and its engines are never deployed: check "
            "each one, then delete its entry under [cyan]guessed[/]"
        )
    folder = output.absolute().parent
    cd = f"cd {escape(str(folder))} && " if folder != Path.cwd() else ""
    screen.print("[bold]next[/]")
    screen.print(f"  1. run it as it is:   [cyan]{cd}pytest --pyargs hil.suites --target=cpu[/]")
    screen.print(
        "  2. use real data:     set [cyan]data[/] and [cyan]task[/], then [cyan]limits[/], as the file's comments say"
    )
    screen.print("  3. name your board:   [cyan]\\[targets.jetson-orin][/], then [cyan]pytest --target=jetson-orin[/]")


def _empty(proposal: Proposal) -> str:
    """Return the warning about outputs without elements, and what to do."""
    names = ", ".join(f"'{name}'" for name in proposal.empty)
    none = next((one.name for one in proposal.signature.inputs if 0 in one.shape), None)
    advice = "use data, or a range of random inputs, for which it has some"
    if none is not None:
        advice = f"input '{none}' has a size of 0 in the file: give it a name instead (onnx.tools.update_model_dims)"
    return f"{names} had no element in the trial run, and an output that never has any fails parity.outputs: {advice}"
