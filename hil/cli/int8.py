"""``hil int8``: audit a model's calibration, rank and tune its layers, compare two calibrations."""

from __future__ import annotations

import secrets
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hil.cli.views.configs import config_at
from hil.errors import ExitCode, UserError

if TYPE_CHECKING:
    from hil.cli.views.engine_steps import Steps
    from hil.config.load import Config
    from hil.results import CheckResult

group = typer.Typer(
    help="""Audit a model's INT8 calibration, rank its layers, compare two calibrations.

    [bold]Examples[/bold]

      hil int8 audit detector --target jetson-orin

      hil int8 sensitivity detector

      hil int8 tune detector --target jetson-orin

      hil int8 diff jetpack-6/report.json jetpack-7/report.json --model detector
    """
)

Model = Annotated[str, typer.Argument(metavar="MODEL", help="A model of hil.toml, by its name.")]
TargetName = Annotated[str, typer.Option("--target", metavar="T", help="The target that builds the engine.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The config; default: the nearest hil.toml.")
]
JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the result as JSON.")]


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
    """Run only the checks of a model's INT8 calibration (int8.* and placement.int8_layers), and show them in detail.

    Exit code 0: every check passed, has no limit or is unsupported; 1: otherwise; 4: a mistake in the config.

    [bold]Examples[/bold]

      hil int8 audit digits

      hil int8 audit detector --target jetson-orin --sensitivity --json audit.json
    """
    from hil.cli.views import int8_shown
    from hil.cli.views.engine_steps import Steps

    loaded = config_at(config)
    _check_has_int8(loaded, model, target)
    with Steps() as steps:
        results = _judge_int8(loaded, model, target, steps)
        ranking = int8_shown.rank_layers(loaded, model, target, steps.say) if sensitivity else None
    int8_shown.print_audit(model, target, results)
    if ranking is not None:
        int8_shown.print_ranking(model, ranking)
    if as_json is not None:
        checks = [result.model_dump(mode="json") for result in results]
        int8_shown.write_json(as_json, {"checks": checks, "layers": ranking})
    return int(ExitCode.PASSED if int8_shown.all_passed(results) else ExitCode.FAILED)


@group.command()
def sensitivity(
    model: Model,
    target: TargetName = "cpu",
    as_json: JsonFile = None,
    config: ConfigFile = None,
) -> None:
    """Rank a model's layers by the noise that INT8 adds in each, and propose which to keep in float.

    Everything runs on this machine's CPU: first the model with each layer quantized alone, then the proposed model.
    --target only decides where Q/DQ nodes are inserted.

    [bold]Example[/bold]

      hil int8 sensitivity detector --target jetson-orin
    """
    from hil.cli.views import int8_shown
    from hil.cli.views.engine_steps import Steps

    loaded = config_at(config)
    _check_has_int8(loaded, model, target)
    with Steps() as steps:
        ranking = int8_shown.rank_layers(loaded, model, target, steps.say)
    int8_shown.print_ranking(model, ranking)
    if as_json is not None:
        int8_shown.write_json(as_json, {"layers": ranking})


@group.command()
def tune(  # noqa: PLR0913, PLR0917 - the options of a command
    model: Model,
    target: TargetName = "cpu",
    builds: Annotated[int, typer.Option("--builds", metavar="N", min=1, max=200, help="The most builds.")] = 25,
    write: Annotated[  # noqa: FBT002 - an option, given by name
        bool, typer.Option("--write/--no-write", help="Write the result as exclude_nodes into hil.toml.")
    ] = True,
    as_json: JsonFile = None,
    config: ConfigFile = None,
) -> int:
    """Search for the nodes to keep in floating point so that the model's tolerances hold in int8.

    Each trial builds an engine on the target, compares it as a run does, and times it. A call that was interrupted
    continues where it ended. Exit code 0: the tolerances hold with the nodes that are shown; 1: they hold in no trial;
    4: a mistake in the config.

    [bold]Examples[/bold]

      hil int8 tune detector

      hil int8 tune detector --target jetson-orin --builds 12 --no-write --json tuned.json
    """
    from hil.cli.views import int8_shown, int8_tuned
    from hil.cli.views.engine_steps import Steps
    from hil.session.int8_trials import Trials, as_document

    loaded = config_at(config)
    _check_has_int8(loaded, model, target)
    with Steps() as steps:
        trials = Trials(loaded, model, target, builds, steps)
        search = trials.search(lambda: int8_shown.rank_layers(loaded, model, target, steps.say))
    int8_tuned.print_search(trials, search)
    if as_json is not None:
        int8_shown.write_json(as_json, as_document(trials, search))
    int8_tuned.recommend(loaded, model, target, trials, search, write=write)
    return int(ExitCode.PASSED if search.best is not None else ExitCode.FAILED)


@group.command()
def diff(
    old: Annotated[
        Path, typer.Argument(metavar="OLD", help="A report.json, a Q/DQ model or a TensorRT calibration cache.")
    ],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The newer file, of any of these kinds.")],
    model: Annotated[
        str | None, typer.Option("--model", metavar="M", help="The model, for reports with several.")
    ] = None,
    above: Annotated[str, typer.Option("--above", help="Changes up to this size count as unchanged.")] = "10 %",
) -> int:
    """Compare the ranges of two calibrations tensor by tensor: of two caches, two builds or two JetPack releases.

    Exit code 0: both have the same tensors, and no range moved by more than --above; 1: otherwise; 4: a file without
    ranges.

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
    changes = drift(scales_at(old, model), scales_at(new, model))
    int8_shown.print_drift(changes, least)
    return int(ExitCode.FAILED if changes.gone or changes.new or changes.worst > least else ExitCode.PASSED)


def _check_has_int8(config: Config, model: str, target: str) -> None:
    from hil.session.preflight import preflight

    spec = config.model(model, target) if model in config.spec.models else None
    if spec is not None and "int8" not in spec.precisions:
        raise UserError(f"model {model} does not have int8 on target {target!r}: add int8 to the model's precisions")
    preflight(config, target, model, ["int8"])


def _judge_int8(config: Config, model: str, target: str, steps: Steps) -> list[CheckResult]:
    from hil.plan import expand
    from hil.session import Request, Session

    plan = expand(config, target)
    of_model = [row for row in (*plan.rows, *plan.unlimited) if (row.model, row.precision) == (model, "int8")]
    rows = [row for row in of_model if row.id.startswith("int8.") or row.id == "placement.int8_layers"]
    cache = config.resolve(config.spec.project.cache)
    request = Request(config, target, "fail", 0.0, secrets.token_hex(16), cache, progress=steps, plan=plan)
    with closing(Session.open(request)) as session:
        return [session.judge(row).result for row in rows]
