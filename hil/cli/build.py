"""``hil build MODEL --target T``: build engines before a run needs them."""

from __future__ import annotations

import secrets
from contextlib import closing
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hil.cli.views.configs import config_at
from hil.errors import EngineBuildError, EngineError, ExitCode, HilError, Unsupported, UserError, WorkerLost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.config.load import Config
    from hil.config.spec import ModelSpec
    from hil.session import Session
    from hil.session.engines.provision import Provisioned


def command(  # noqa: PLR0913, PLR0917 - one for each option of the command line
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model of hil.toml, by its name.")],
    target: Annotated[
        str, typer.Option("--target", metavar="T", help="The target that builds and stores the engines.")
    ],
    precision: Annotated[
        list[str] | None,
        typer.Option("--precision", metavar="P", help="One of the model's precisions (repeatable); default: all."),
    ] = None,
    time_limit: Annotated[
        str | None, typer.Option("--time-limit", metavar="TIME", help='Replaces build.time_limit, e.g. "10 min".')
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The config; default: the nearest hil.toml.")
    ] = None,
    wait: Annotated[
        str, typer.Option("--wait", metavar="TIME", help="How long to wait while somebody else holds the target.")
    ] = "0 s",
) -> int:
    """Build a model's engines on a target, ahead of a run.

    The engines stay in the target's store for the next run, and copies stay in the config's cache folder. For TensorRT
    engines, the equivalent trtexec command is shown, with what trtexec would do differently.

    [bold]Examples[/bold]

      hil build detector --target jetson-orin

      hil build detector --target jetson-orin --precision fp16 --precision int8 --time-limit "10 min"
    """
    from hil.cli.views import built
    from hil.cli.views.engine_steps import Steps
    from hil.session import Request, Session
    from hil.session.preflight import preflight

    loaded = _with_time_limit(config_at(config), model, time_limit)
    chosen = _precisions(loaded.model(model, target), model, target, precision)
    for warning in loaded.warnings:
        typer.echo(f"warning: {warning}", err=True)
    preflight(loaded, target, model, chosen)  # mistakes in the config are reported before the target is used
    cache = loaded.resolve(loaded.spec.project.cache)
    with Steps() as steps:
        request = Request(loaded, target, "fail", seconds(wait, "--wait"), secrets.token_hex(16), cache, progress=steps)
        with closing(Session.open(request)) as session:
            engines, failures = _build(session, model, chosen)
            steps.close()
            built.print_engines(session, model, engines)
    for failure in failures:
        typer.echo(f"error: {failure}", err=True)
    users = any(failure.exit_code is ExitCode.USER_ERROR for failure in failures)
    return int(ExitCode.USER_ERROR if users else ExitCode.FAILED if failures else ExitCode.PASSED)


def _build(session: Session, model: str, precisions: Sequence[str]) -> tuple[dict[str, Provisioned], list[HilError]]:
    """Return the engines by precision, and the errors of the precisions that failed."""
    engines: dict[str, Provisioned] = {}
    failures: list[HilError] = []
    for precision in precisions:
        try:
            more = precision != precisions[-1]
            engines[precision] = session.engines.provisioned(model, precision, more=more)
        except (EngineBuildError, EngineError, Unsupported, UserError, WorkerLost) as error:  # noqa: PERF203 - builds take minutes
            failures.append(error)
    return engines, failures


def seconds(text: str, option: str) -> float:
    """Return a duration such as ``"10 min"`` in seconds.

    Raise a ``UserError`` that names ``option`` if ``text`` is not a duration.
    """
    from hil.units import Dimension, parse

    try:
        return parse(text, Dimension.TIME)
    except ValueError as error:
        raise UserError(f"{option}: {error}") from None


def _with_time_limit(config: Config, model: str, time_limit: str | None) -> Config:
    """Return ``config`` with ``time_limit`` as the model's ``build.time_limit`` on every target.

    ``None`` changes nothing. Raise ``UserError`` for a text that is not a positive duration.
    """
    from dataclasses import replace

    if time_limit is None or model not in config.spec.models:
        return config
    limit = seconds(time_limit, "--time-limit")
    if limit <= 0:
        raise UserError("--time-limit must be longer than zero: write e.g. '10 min'")
    spec = config.spec.models[model]
    on = {
        name: table if table.build is None else table.model_copy(update={"build": _within(table.build, limit)})
        for name, table in spec.on.items()
    }
    changed = spec.model_copy(update={"build": _within(spec.build, limit), "on": on})
    models = {**config.spec.models, model: changed}
    return replace(config, spec=config.spec.model_copy(update={"models": models}))


def _within(build: Any, limit: float) -> Any:
    return build.model_copy(update={"time_limit": limit})


def _precisions(spec: ModelSpec, model: str, target: str, requested: Sequence[str] | None) -> list[str]:
    """Return the precisions to build: ``requested`` without repetitions; if it is empty or ``None``, all of ``model``.

    Raise ``UserError`` for a precision that the model does not have.
    """
    from hil.errors import did_you_mean

    for precision in requested or ():
        if precision not in spec.precisions:
            hint = did_you_mean(precision, spec.precisions) or f": it has {', '.join(spec.precisions)}"
            raise UserError(f"--precision {precision}: model {model} does not have it on target {target!r}{hint}")
    return list(dict.fromkeys(requested or spec.precisions))
