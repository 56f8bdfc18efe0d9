"""``hil parity MODEL ENGINE --data FILE``: two ONNX files on the same data, without a config."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from hil.errors import ExitCode, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator


def command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The original, FP32: an ONNX file.")],
    engine: Annotated[Path, typer.Argument(metavar="ENGINE", help="What was made of it: an ONNX file.")],
    data: Annotated[
        Path, typer.Option("--data", metavar="FILE", help="An .npz file of arrays named after the inputs.")
    ],
    precision: Annotated[
        str, typer.Option("--precision", metavar="P", help="Whose tolerances hold: fp32, tf32, fp16, bf16 or int8.")
    ] = "fp32",
    batch: Annotated[int, typer.Option("--batch", metavar="N", min=1, help="Samples fed at once.")] = 1,
) -> int:
    """Compare two ONNX files on all samples of a file, under ONNX Runtime on this machine's CPU.

    Passed only if names, shapes, dtypes and counts of all outputs agree, something was compared, nothing finite became
    NaN or infinite, and every output is within its tolerances. For engines on a target write a hil.toml
    ([bold]hil init[/bold]).

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
        numbers = "  ".join(f"{one['metric']} {one['value']:.4g}" for one in row["bounds"] if one["value"] is not None)
        yield f"{'ok ' if row['met'] else 'OUT'} {row['output']}: {numbers}"
