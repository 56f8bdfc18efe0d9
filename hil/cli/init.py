"""``hil init MODEL.onnx``: write a starter ``hil.toml`` that runs without changes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hil.cli.views.console import console
from hil.errors import UserError

if TYPE_CHECKING:
    from hil.onnx_files.signature import Signature


def command(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The ONNX file; it is not changed.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")] = Path("hil.toml"),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,  # noqa: FBT002 - an option
) -> None:
    """Write a commented hil.toml from a model's inputs and outputs, ready to run on random data.

    [bold]Examples[/bold]

      hil init models/detector.onnx
      hil init detector.onnx --output robot/hil.toml --force
    """
    from hil.cli.views.run_length import print_length
    from hil.cli.views.starter import model_name, sizes_that_run, starter
    from hil.config.spec import ModelSpec
    from hil.datasets.synthetic import SyntheticDataset
    from hil.onnx_files.declared import declared_signature
    from hil.session.preflight import check_unquantized

    if output.exists() and not force:
        raise UserError(
            f"{output} exists already: model {model.stem}: --force replaces it, --output FILE writes another file"
        )
    name = model_name(model)
    signature = declared_signature(model, ModelSpec(path=str(model), data="synthetic"), name)
    check_unquantized(signature, model.name, name)
    if not signature.inputs:
        raise UserError(f"{model} has no inputs, so it cannot be run on data: export it with an input")
    # Raises UserError now, not in the first run, for inputs that cannot be drawn at random.
    SyntheticDataset(signature, model=model.stem, count=None, ranges={})
    relative = os.path.relpath(model.absolute(), output.absolute().parent)
    _write(output, starter(signature, relative, name, sizes_that_run(model, signature)))
    _print_summary(output, signature)
    print_length(output)


def _write(output: Path, text: str) -> None:
    """Write ``text`` to ``output`` atomically. Raise ``UserError`` if the file cannot be written."""
    partial = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        partial.write_bytes(text.encode())
        partial.replace(output)
    except (OSError, UnicodeError) as error:
        partial.unlink(missing_ok=True)
        why = getattr(error, "strerror", None) or error
        raise UserError(f"cannot write {output} ({why}): name another file with --output FILE") from None


def _print_summary(output: Path, signature: Signature) -> None:
    from rich.markup import escape

    screen = console()
    screen.print(f"[bold green]wrote[/] {escape(str(output))}")
    for way, specs in (("input ", signature.inputs), ("output", signature.outputs)):
        for spec in specs:
            screen.print(f"  {way}  {escape(str(spec))}")
    screen.print(
        '[bold yellow]warning:[/] its data is random (data = "synthetic"): it shows that the model runs, '
        "but never satisfies a gate for a robot"
    )
    folder = output.absolute().parent
    cd = f"cd {escape(str(folder))} && " if folder != Path.cwd() else ""
    screen.print("[bold]next[/]")
    screen.print(f"  1. run it as it is:   [cyan]{cd}pytest --pyargs hil.suites --target=cpu[/]")
    screen.print(
        "  2. use real data:     set [cyan]data[/] and [cyan]task[/], then [cyan]limits[/], as the file's comments say"
    )
    screen.print("  3. name your board:   [cyan]\\[targets.jetson-orin][/], then [cyan]pytest --target=jetson-orin[/]")
