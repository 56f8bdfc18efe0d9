"""``hil int8 audit MODEL``, ``hil int8 sensitivity MODEL``, ``hil int8 diff OLD NEW``: what a calibration is worth."""

from __future__ import annotations

import secrets
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hil.cli.build import Steps
from hil.cli.views.configs import config_at
from hil.errors import ExitCode, UserError

if TYPE_CHECKING:
    from hil.config.load import Config
    from hil.results import CheckResult

group = typer.Typer(
    help="""Audit a model's INT8 calibration, rank its layers, compare two calibrations.

    [bold]Examples[/bold]

      hil int8 audit detector --target jetson-orin

      hil int8 sensitivity detector

      hil int8 diff jetpack-6/report.json jetpack-7/report.json --model detector
    """
)

Model = Annotated[str, typer.Argument(metavar="MODEL", help="A model of hil.toml, by its name.")]
TargetName = Annotated[str, typer.Option("--target", metavar="T", help="The target that builds it.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="hil.toml; the nearest one if not given.")
]
JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write it as JSON.")]


@group.command()
def audit(
    model: Model,
    target: TargetName = "cpu",
    sensitivity: Annotated[  # noqa: FBT002 - an option, given by name
        bool, typer.Option("--sensitivity", help="Rank the layers too, as hil int8 sensitivity does.")
    ] = False,
    as_json: JsonFile = None,
    config: ConfigFile = None,
) -> int:
    """Judge a model's INT8 calibration alone: the int8 and placement checks of the main job, with what they saw.

    Exit code 0: all passed or have no limit; 1: something did not; 4: a mistake in the config.

    [bold]Examples[/bold]

      hil int8 audit digits

      hil int8 audit detector --target jetson-orin --sensitivity --json audit.json
    """
    from hil.cli.views import int8_shown

    found = config_at(config)
    _int8_model(found, model, target)
    with Steps() as steps:
        results = _audited(found, model, target, steps)
        ranked = int8_shown.ranked(found, model, target, steps.say) if sensitivity else None
    int8_shown.audit(model, target, results)
    if ranked is not None:
        int8_shown.sensitivity(model, ranked)
    if as_json is not None:
        int8_shown.write(as_json, {"checks": [one.model_dump(mode="json") for one in results], "layers": ranked})
    return int(ExitCode.PASSED if int8_shown.good(results) else ExitCode.FAILED)


@group.command()
def sensitivity(
    model: Model,
    target: TargetName = "cpu",
    as_json: JsonFile = None,
    config: ConfigFile = None,
) -> None:
    """Rank a model's layers by the noise that INT8 adds in each, and propose which to keep in float.

    Each is quantized alone, on this machine's CPU; what is proposed is then made, run and timed there. --target only
    chooses where Q/DQ nodes go, since runtimes fuse different patterns.

    [bold]Example[/bold]

      hil int8 sensitivity detector --target jetson-orin
    """
    from hil.cli.views import int8_shown

    found = config_at(config)
    _int8_model(found, model, target)
    with Steps() as steps:
        ranked = int8_shown.ranked(found, model, target, steps.say)
    int8_shown.sensitivity(model, ranked)
    if as_json is not None:
        int8_shown.write(as_json, {"layers": ranked})


@group.command()
def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A report.json, a Q/DQ model or a TensorRT cache.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The same, of what is compared with it.")],
    model: Annotated[str | None, typer.Option("--model", metavar="M", help="Of reports with several.")] = None,
    above: Annotated[str, typer.Option("--above", help="A change up to this size is none.")] = "10 %",
) -> int:
    """Compare the ranges of two calibrations, tensor by tensor: two caches, two builds, two JetPacks.

    Exit code 0: the same tensors, none moved by more; 1: some did; 4: a file that has no ranges.

    [bold]Examples[/bold]

      hil int8 diff jetpack-6/report.json jetpack-7/report.json --model detector

      hil int8 diff old.cache new.cache --above "5 %"
    """
    from hil.checks.int8_ranges import drift
    from hil.cli.views import int8_shown
    from hil.cli.views.int8_files import scales_at
    from hil.units import Dimension, parse

    try:
        least = parse(above, Dimension.FRACTION)
    except ValueError as error:
        raise UserError(f"--above {above}: {error}") from None
    found = drift(scales_at(old, model), scales_at(new, model))
    int8_shown.drifted(found, least)
    return int(ExitCode.FAILED if found.gone or found.new or found.worst > least else ExitCode.PASSED)


def _int8_model(config: Config, model: str, target: str) -> None:
    from hil.session.preflight import preflight

    spec = config.model(model, target) if model in config.spec.models else None
    if spec is not None and "int8" not in spec.precisions:
        raise UserError(f"model {model} has no int8 on target {target!r}: add it to its precisions")
    preflight(config, target, model, ["int8"])


def _audited(config: Config, model: str, target: str, steps: Steps) -> list[CheckResult]:
    from hil.plan import expand
    from hil.session import Request, Session

    plan = expand(config, target)
    rows = [one for one in (*plan.rows, *plan.unlimited) if (one.model, one.precision) == (model, "int8")]
    wanted = [one for one in rows if one.id.startswith("int8.") or one.id == "placement.int8_layers"]
    cache = config.resolve(config.spec.project.cache)
    request = Request(config, target, "fail", 0.0, secrets.token_hex(16), cache, progress=steps.say)
    with closing(Session.open(request)) as session:
        return [session.judge(row).result for row in wanted]
