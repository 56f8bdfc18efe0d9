"""``hil diagnose MODEL --target T``: the node at which an engine starts to differ from its model."""

from __future__ import annotations

import secrets
from contextlib import closing
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from hil.cli.build import Steps, seconds
from hil.cli.views.configs import config_at
from hil.cli.views.console import console
from hil.errors import ExitCode, UserError

if TYPE_CHECKING:
    from hil.config.load import Config
    from hil.diagnose.diagnosis import Diagnosis
    from hil.results import Judgement
    from hil.session import Session


def command(  # noqa: PLR0913, PLR0917 - one for each option of the command line
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model of hil.toml, by its name.")],
    precision: Annotated[str, typer.Option("--precision", metavar="P", help="Of the engine: fp32, fp16, int8, …")],
    target: Annotated[str, typer.Option("--target", metavar="T", help="Where the engine runs.")] = "cpu",
    deployed: Annotated[
        Path | None,
        typer.Option("--deployed", metavar="FILE", help="The ONNX file the engine is built from, if not the model's."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of the bundle; report/repro/… if not given.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="hil.toml; the nearest one if not given.")
    ] = None,
    wait: Annotated[
        str, typer.Option("--wait", metavar="TIME", help="How long to wait for a target somebody else holds.")
    ] = "0 s",
) -> int:
    """Find the ONNX node where an engine starts to differ from its model, and why.

    Compares the engine with the reference on all validation data, then takes its graph apart on the samples around the
    worst one: each node alone on the reference's own values, and the whole with its inside marked as outputs. What is
    found goes into a folder with a script that shows it on any CPU. Exit code 1 if the engine is out of tolerance or a
    node is at fault.

    [bold]Examples[/bold]

      hil diagnose digits --precision int8

      hil diagnose detector --precision fp16 --target jetson-orin

      hil diagnose detector --precision int8 --target jetson-orin --deployed detector-modelopt.onnx
    """
    from hil.diagnose.repro import write
    from hil.results import Row
    from hil.session import Request, Session
    from hil.session.diagnosing import examine
    from hil.session.gather.parity import compared
    from hil.session.preflight import preflight

    found = _deployed(config_at(config), model, deployed)
    _check(found, model, target, precision)
    preflight(found, target, model, [precision])
    report = found.resolve(found.spec.project.report)
    folder = out or report / "repro" / f"{model}-{precision}"
    with Steps() as steps:
        request = Request(found, target, "fail", seconds(wait, "--wait"), secrets.token_hex(16), report, steps.say)
        with closing(Session.open(request)) as session:
            row = Row(id="parity.outputs", model=model, precision=precision, required=True, test="hil diagnose")
            comparison = compared(session, row).comparison
            judgement = comparison.judge()
            examined = examine(session, model, precision, comparison)
            facts = session.facts
            _told(steps, session)
    healthy = judgement.verdict.value == "passed" and not examined.diagnosis.culprits
    made = None if healthy else write(folder, examined, facts, judgement.reason)
    show(judgement, examined.diagnosis, made)
    return int(ExitCode.PASSED if healthy else ExitCode.FAILED)


def _told(steps: Steps, session: Session) -> None:
    if session.is_fallback:
        steps.say(str(session.fallback_reason))
    steps.close()


def _deployed(config: Config, model: str, file: Path | None) -> Config:
    """``config`` with the ONNX file of the command line, which wins."""
    from dataclasses import replace

    if file is None or model not in config.spec.models:
        return config
    if not file.exists():
        raise UserError(f"--deployed {file} is not there: model {model}: check the path")
    changed = config.spec.models[model].model_copy(update={"deployed": str(file.resolve())})
    models = {**config.spec.models, model: changed}
    return replace(config, spec=config.spec.model_copy(update={"models": models}))


def _check(config: Config, model: str, target: str, precision: str) -> None:
    from hil.errors import did_you_mean

    spec = config.model(model, target)
    if precision not in spec.precisions:
        hint = did_you_mean(precision, spec.precisions) or f": it has {', '.join(spec.precisions)}"
        raise UserError(f"--precision {precision}: model {model} is not built so on target {target!r}{hint}")


def show(judgement: Judgement, found: Diagnosis, folder: Path | None) -> None:
    """Prints the verdict, the culprits with their evidence, and the worst one's tensor on both sides."""
    from rich.table import Table
    from rich.text import Text

    from hil.diagnose import sentences

    screen = console()
    style = "green" if judgement.verdict.value == "passed" else "red"
    screen.print(Text.assemble((f"{judgement.verdict.value} ", f"bold {style}"), f"parity: {judgement.reason}"))
    count = f"looked at {found.looked_at} tensors of {found.nodes} nodes on {found.samples} samples"
    screen.print(Text(count, "dim"))
    screen.print(Text(sentences.verdict(found), "bold"))
    for line in sentences.lines(found):
        screen.print(Text(line))
    if found.culprits:
        table = Table("", "reference", "engine", title=f"tensor {found.culprits[0].seen.tensor}", title_justify="left")
        for row in sentences.table(found.culprits[0]):
            table.add_row(*row)
        screen.print(table)
    if folder is not None:
        screen.print(Text(f"replay it on any CPU: python {folder / 'repro.py'}"))
