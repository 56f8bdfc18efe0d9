"""``hil build MODEL --target T``: engines built ahead, so that no run and no robot waits for them."""

from __future__ import annotations

import secrets
from contextlib import closing
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hil.cli.views.configs import config_at
from hil.cli.views.console import console
from hil.errors import EngineBuildError, EngineError, ExitCode, HilError, Unsupported, UserError, WorkerLost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

    from hil.config.load import Config
    from hil.config.spec import ModelSpec
    from hil.session import Session
    from hil.session.engines.provision import Provisioned


def command(  # noqa: PLR0913, PLR0917 - one for each option of the command line
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model of hil.toml, by its name.")],
    target: Annotated[str, typer.Option("--target", metavar="T", help="The target that builds and keeps it.")],
    precision: Annotated[
        list[str] | None, typer.Option("--precision", metavar="P", help="One of the model's; all if not given.")
    ] = None,
    time_limit: Annotated[
        str | None, typer.Option("--time-limit", metavar="TIME", help='Instead of build.time_limit, e.g. "10 min".')
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="hil.toml; the nearest one if not given.")
    ] = None,
    wait: Annotated[
        str, typer.Option("--wait", metavar="TIME", help="How long to wait for a target somebody else holds.")
    ] = "0 s",
) -> int:
    """Build a model's engines on a target ahead of time, and let go of it.

    They stay in the target's store, where the next run finds them; a copy of each lies in the config's cache
    folder. What TensorRT built is shown with the trtexec command that does the same, and with what differs.

    [bold]Examples[/bold]

      hil build detector --target jetson-orin

      hil build detector --target jetson-orin --precision fp16 --precision int8 --time-limit "10 min"
    """
    from hil.cli.views import built
    from hil.session import Request, Session
    from hil.session.preflight import preflight

    found = _limited(config_at(config), model, time_limit)
    chosen = _precisions(found.model(model, target), model, target, precision)
    preflight(found, target, model, chosen)  # a user's mistake is told before the target is touched
    cache = found.resolve(found.spec.project.cache)
    with Steps() as steps:
        request = Request(
            found, target, "fail", seconds(wait, "--wait"), secrets.token_hex(16), cache, progress=steps.say
        )
        with closing(Session.open(request)) as session:
            made, failures = _build(session, model, chosen)
            steps.close()
            built.tell(session, model, made)
    for failure in failures:
        typer.echo(f"error: {failure}", err=True)
    users = any(isinstance(failure, UserError) for failure in failures)
    return int(ExitCode.USER_ERROR if users else ExitCode.FAILED if failures else ExitCode.PASSED)


def _build(session: Session, model: str, precisions: Sequence[str]) -> tuple[dict[str, Provisioned], list[HilError]]:
    """What was built, and what went wrong with the rest: one precision that fails leaves the others."""
    made: dict[str, Provisioned] = {}
    failures: list[HilError] = []
    for one in precisions:
        try:
            made[one] = session.engines.provisioned(model, one, more=one != precisions[-1])
        except (EngineBuildError, EngineError, Unsupported, UserError, WorkerLost) as error:  # noqa: PERF203 - builds take minutes
            failures.append(error)
    return made, failures


class Steps:
    """A line for each step on stderr; on a terminal also how long the one at work has taken."""

    def __init__(self) -> None:
        """Draws nothing yet."""
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._screen = console(stderr=True)
        columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
        on = self._screen.is_terminal
        self._live = Progress(*columns, console=self._screen, transient=True, disable=not on)

    def __enter__(self) -> Self:
        """Starts drawing."""
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stops drawing, whatever happened."""
        self.close()

    def close(self) -> None:
        """Leaves the lines and takes the clock away; may be called twice."""
        self._live.stop()

    def say(self, text: str) -> None:
        """A step has begun."""
        from rich.text import Text

        self._screen.print(Text.assemble(("hil ", "bold cyan"), (text, "cyan")))
        for task in self._live.task_ids:
            self._live.remove_task(task)
        self._live.add_task("", total=None)


def seconds(text: str, option: str) -> float:
    """``"10 min"`` in seconds. Raises ``UserError`` that names the option."""
    from hil.units import Dimension, parse

    try:
        return parse(text, Dimension.TIME)
    except ValueError as error:
        raise UserError(f"{option}: {error}") from None


def _limited(config: Config, model: str, time_limit: str | None) -> Config:
    """``config`` with the time limit of the command line, which wins on every target."""
    from dataclasses import replace

    if time_limit is None or model not in config.spec.models:
        return config
    limit = seconds(time_limit, "--time-limit")
    if limit <= 0:
        raise UserError("--time-limit: nothing can be built in no time: write e.g. '10 min'")
    spec = config.spec.models[model]
    on = {
        name: one if one.build is None else one.model_copy(update={"build": _within(one.build, limit)})
        for name, one in spec.on.items()
    }
    changed = spec.model_copy(update={"build": _within(spec.build, limit), "on": on})
    models = {**config.spec.models, model: changed}
    return replace(config, spec=config.spec.model_copy(update={"models": models}))


def _within(build: Any, limit: float) -> Any:
    return build.model_copy(update={"time_limit": limit})


def _precisions(spec: ModelSpec, model: str, target: str, asked: Sequence[str] | None) -> list[str]:
    """The precisions to build, each once, in the order asked for."""
    from hil.errors import did_you_mean

    for one in asked or ():
        if one not in spec.precisions:
            hint = did_you_mean(one, spec.precisions) or f": it has {', '.join(spec.precisions)}"
            raise UserError(f"--precision {one}: model {model} is not built so on target {target!r}{hint}")
    return list(dict.fromkeys(asked or spec.precisions))
