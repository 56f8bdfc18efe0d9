"""``hil parity MODEL ENGINE --data FILE``: compare two ONNX files on the same data, on this machine's CPU."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from hil.cli.views.configs import config_at
from hil.errors import ExitCode, UserError

ANSWERED = {"passed": "ok ", "failed": "OUT", "inconclusive": "?  "}

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hil.compare_files import Declared


def command(  # noqa: PLR0913, PLR0917 - one for each option of the command line
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The original ONNX file, FP32.")],
    engine: Annotated[Path, typer.Argument(metavar="ENGINE", help="The ONNX file made from it.")],
    data: Annotated[
        Path, typer.Option("--data", metavar="FILE", help="An .npz file of arrays named after the inputs.")
    ],
    precision: Annotated[
        str,
        typer.Option(
            "--precision", metavar="P", help="The precision whose tolerances apply: fp32, tf32, fp16, bf16 or int8."
        ),
    ] = "fp32",
    batch: Annotated[
        int | None,
        typer.Option("--batch", metavar="N", min=1, help="Samples in one call; default: the batch of --model, else 1."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="NAME", help="The model of hil.toml whose kinds, axes, tolerances and inputs apply."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The config of --model; default: the nearest.")
    ] = None,
) -> int:
    """Compare two ONNX files on all samples of a file, with ONNX Runtime on this machine's CPU.

    Passes only if all outputs agree in names, shapes, dtypes and counts, and every output is within its tolerances.
    Fails if no value was compared, or if a finite value became NaN or infinite. With --model, the outputs are compared
    as hil.toml declares that model on the target cpu. To compare engines on a target, write a hil.toml ([bold]hil
    init[/bold]).

    [bold]Examples[/bold]

      hil parity detector.onnx detector-int8.onnx --data validation.npz --precision int8

      hil parity detector.onnx detector-int8.onnx --data validation.npz --precision int8 --model detector

      hil parity model.onnx simplified.onnx --data inputs.npz --batch 8
    """
    from hil.compare_files import compare
    from hil.config.spec import Precision

    known = get_args(Precision)
    if precision not in known:
        raise UserError(f"--precision {precision}: model {model.stem}: choose one of {', '.join(known)}")
    declared = _declared(name, config)
    size = batch or (1 if declared is None else declared.spec.batch)
    if declared is None and (unused := _unused(model, precision)):
        typer.echo(unused, err=True)
    judgement = compare(model, engine, data, precision, size, declared).judge()  # type: ignore[arg-type]  # checked above
    for line in _lines(judgement.details):
        typer.echo(line)
    typer.echo(f"{judgement.verdict.value}: {judgement.reason}")
    return int(ExitCode.PASSED if judgement.verdict.value == "passed" else ExitCode.FAILED)


def _declared(name: str | None, config: Path | None) -> Declared | None:
    """Return the model ``name`` of the config, with its values on the target ``cpu``; ``None`` if ``name`` is ``None``.

    Raise ``UserError`` for an unknown model, and if ``config`` is given without ``name``.
    """
    from hil.compare_files import Declared
    from hil.config.load import CPU

    if name is None:
        if config is not None:
            names = ", ".join(config_at(config, own=False).spec.models)
            raise UserError(f"--config {config} without --model: name the model whose declarations apply ({names})")
        return None
    declared = Declared(config_at(config, own=False), name, CPU)
    _ = declared.spec  # raises for an unknown model
    return declared


def _unused(model: Path, precision: str) -> str:
    """Return a note if the nearest hil.toml declares outputs, inputs or tolerances of ``precision`` for ``model``.

    Otherwise return an empty text.
    """
    from hil.config.load import CPU

    try:
        config = config_at(None, own=False)
    except UserError:  # without --model, no config is needed
        return ""
    for name in config.spec.models:
        spec = config.model(name, CPU)
        declares = spec.outputs or spec.inputs or precision in spec.tolerances
        if declares and config.resolve(spec.path).resolve() == model.resolve():
            where = config.where("models", name)
            return f"note: {where} declares outputs, inputs or tolerances of {model}, not used here: add --model {name}"
    return ""


def _lines(details: Mapping[str, Any]) -> Iterator[str]:
    from hil.report.answers_view import answers
    from hil.units import number_text

    for row in details.get("outputs", ()):
        bounds = [bound for bound in row["bounds"] if bound["value"] is not None]
        numbers = "  ".join(f"{bound['metric']} {number_text(bound['value'], 4)}" for bound in bounds)
        if bounds or not row["met"]:
            yield f"{'ok ' if row['met'] else 'OUT'} {row['output']}: {numbers}"
    for one in answers(details):
        yield f"{ANSWERED.get(one.verdict, '?')} answers of {one.line}"
