"""``hil parity MODEL ENGINE --data FILE``: compare two ONNX files on the same data, without a config."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from hil.errors import ExitCode, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator


def command(
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
    batch: Annotated[int, typer.Option("--batch", metavar="N", min=1, help="Samples in one call.")] = 1,
) -> int:
    """Compare two ONNX files on all samples of a file, with ONNX Runtime on this machine's CPU.

    Passes only if all outputs agree in names, shapes, dtypes and counts, and every output is within its tolerances.
    Fails if no value was compared, or if a finite value became NaN or infinite. To compare engines on a target, write a
    hil.toml ([bold]hil init[/bold]).

    [bold]Examples[/bold]

      hil parity detector.onnx detector-int8.onnx --data validation.npz --precision int8

      hil parity model.onnx simplified.onnx --data inputs.npz --batch 8
    """
    from hil.compare_files import compare
    from hil.config.spec import Precision

    known = get_args(Precision)
    if precision not in known:
        raise UserError(f"--precision {precision}: model {model.stem}: choose one of {', '.join(known)}")
    judgement = compare(model, engine, data, precision, batch).judge()  # type: ignore[arg-type]  # checked above
    for line in _lines((judgement.details or {}).get("outputs", ())):
        typer.echo(line)
    typer.echo(f"{judgement.verdict.value}: {judgement.reason}")
    return int(ExitCode.PASSED if judgement.verdict.value == "passed" else ExitCode.FAILED)


def _lines(outputs: Any) -> Iterator[str]:
    for row in outputs:
        bounds = [bound for bound in row["bounds"] if bound["value"] is not None]
        numbers = "  ".join(f"{bound['metric']} {bound['value']:.4g}" for bound in bounds)
        yield f"{'ok ' if row['met'] else 'OUT'} {row['output']}: {numbers}"
