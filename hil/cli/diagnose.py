"""``hil diagnose MODEL --target T``: find the node at which an engine starts to differ from its model."""

from __future__ import annotations

import secrets
from contextlib import closing
from functools import partial
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from hil.cli.build import seconds
from hil.cli.views.configs import config_at
from hil.cli.views.console import console
from hil.errors import ExitCode, UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hil.cli.views.engine_steps import Steps
    from hil.config.load import Config
    from hil.diagnose.diagnosis import Diagnosis
    from hil.results import Judgement, Row
    from hil.session import Session
    from hil.session.diagnosing import Chosen


def command(  # noqa: PLR0913, PLR0917 - one for each option of the command line
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model of hil.toml, by its name.")],
    precision: Annotated[
        str, typer.Option("--precision", metavar="P", help="The engine's precision: fp32, fp16, int8, …")
    ],
    target: Annotated[str, typer.Option("--target", metavar="T", help="The target that runs the engine.")] = "cpu",
    deployed: Annotated[
        Path | None,
        typer.Option("--deployed", metavar="FILE", help="Build the engine from this ONNX file instead of the model's."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The bundle's folder; default: report/repro/MODEL-PRECISION."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The config; default: the nearest hil.toml.")
    ] = None,
    wait: Annotated[
        str, typer.Option("--wait", metavar="TIME", help="How long to wait while somebody else holds the target.")
    ] = "0 s",
) -> int:
    """Find the ONNX node where an engine starts to differ from its model, and why.

    Compares the engine with the reference on all validation data, then examines the graph on the samples around the
    worst one. For a model with a state, the graph is examined on the worst step, which gets the reference's state. Exit
    code 0: the engine is within its tolerances and no node is at fault; 1: otherwise, and a folder is written with a
    script that reproduces the result on any CPU.

    [bold]Examples[/bold]

      hil diagnose digits --precision int8

      hil diagnose detector --precision fp16 --target jetson-orin

      hil diagnose detector --precision int8 --target jetson-orin --deployed detector-modelopt.onnx
    """
    from hil.cli.views.engine_steps import Steps
    from hil.diagnose.repro import write
    from hil.results import Row
    from hil.session import Request, Session
    from hil.session.diagnosing import examine
    from hil.session.preflight import preflight

    loaded = _with_deployed(config_at(config), model, deployed)
    _check_precision(loaded, model, target, precision)
    preflight(loaded, target, model, [precision])
    report = loaded.resolve(loaded.spec.project.report)
    folder = out or report / "repro" / f"{model}-{precision}"
    with Steps() as steps:
        request = Request(loaded, target, "fail", seconds(wait, "--wait"), secrets.token_hex(16), report, steps)
        with closing(Session.open(request)) as session:
            row = Row(id="parity.outputs", model=model, precision=precision, required=True, test="hil diagnose")
            judgement, choose = _compared(session, row)
            examined = examine(session, model, precision, choose)
            facts = session.facts
            _finish_steps(steps, session)
    healthy = judgement.verdict.value == "passed" and not examined.diagnosis.culprits
    bundle = None if healthy else write(folder, examined, facts, judgement.reason)
    show(judgement, examined.diagnosis, bundle)
    return int(ExitCode.PASSED if healthy else ExitCode.FAILED)


def _compared(session: Session, row: Row) -> tuple[Judgement, Callable[[], Chosen]]:
    """Return the judgement of the comparison with the reference, and a function that chooses the inputs to examine.

    Sequences are compared with the engine's own state, then with the reference's state; the judgement is that of the
    first comparison that did not pass, else that of the first comparison.
    """
    from hil.session.diagnosing import worst_batch
    from hil.session.gather import parity, sequence_runs

    if not session.signature(row.model).carry:
        comparison = parity.compared(session, row).comparison
        return comparison.judge(), partial(worst_batch, session, row.model, comparison)
    free, forced = (sequence_runs.compared(session, row, free=own) for own in (True, False))
    judgements = free.comparison.judge(free.suspicion.cause), forced.comparison.judge()
    return next(
        (one for one in judgements if one.verdict.value != "passed"), judgements[0]
    ), forced.suspicion.worst_step


def _finish_steps(steps: Steps, session: Session) -> None:
    if session.is_fallback:
        steps.say(str(session.fallback_reason))
    steps.close()


def _with_deployed(config: Config, model: str, file: Path | None) -> Config:
    """Return ``config`` with ``file`` as the ONNX file that the model's engine is built from; ``None`` changes nothing.

    Raise ``UserError`` if the file does not exist.
    """
    from dataclasses import replace

    if file is None or model not in config.spec.models:
        return config
    if not file.exists():
        raise UserError(f"--deployed {file} does not exist: model {model}: check the path")
    changed = config.spec.models[model].model_copy(update={"deployed": str(file.resolve())})
    models = {**config.spec.models, model: changed}
    return replace(config, spec=config.spec.model_copy(update={"models": models}))


def _check_precision(config: Config, model: str, target: str, precision: str) -> None:
    from hil.errors import did_you_mean

    spec = config.model(model, target)
    if precision not in spec.precisions:
        hint = did_you_mean(precision, spec.precisions) or f": it has {', '.join(spec.precisions)}"
        raise UserError(f"--precision {precision}: model {model} does not have it on target {target!r}{hint}")


def show(judgement: Judgement, diagnosis: Diagnosis, folder: Path | None) -> None:
    """Print the verdict, the nodes at fault with their evidence, and the tensor of the worst node beside the reference.

    ``folder`` has the script that reproduces the fault; it is ``None`` if there is no fault.
    """
    from rich.table import Table
    from rich.text import Text

    from hil.diagnose import sentences

    screen = console()
    style = "green" if judgement.verdict.value == "passed" else "red"
    screen.print(Text.assemble((f"{judgement.verdict.value} ", f"bold {style}"), f"parity: {judgement.reason}"))
    count = f"examined {diagnosis.looked_at} tensors of {diagnosis.nodes} nodes on {diagnosis.samples} samples"
    if diagnosis.step is not None:
        count += f", up to {diagnosis.step}"
    screen.print(Text(count, "dim"))
    screen.print(Text(sentences.verdict(diagnosis), "bold"))
    for line in sentences.lines(diagnosis):
        screen.print(Text(line))
    if diagnosis.culprits:
        worst = diagnosis.culprits[0]
        table = Table("", "reference", "engine", title=f"tensor {worst.seen.tensor}", title_justify="left")
        for row in sentences.table(worst):
            table.add_row(*row)
        screen.print(table)
    if folder is not None:
        screen.print(Text(f"reproduce it on any CPU: python {folder / 'repro.py'}"))
