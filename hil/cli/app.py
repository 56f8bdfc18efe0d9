"""Run the command line: list the commands, run one of them, and report its errors.

A command is the function ``command`` in the module named after it, or the ``group`` there if it has subcommands. It
returns its exit code (``None`` means 0) and raises ``hil.errors.HilError`` for foreseeable failures.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hil import __version__
from hil.errors import ExitCode, HilError, UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = (
    "init",
    "lint",
    "targets",
    "doctor",
    "probe",
    "board",
    "build",
    "parity",
    "trtexec",
    "diagnose",
    "int8",
    "checks",
    "gate",
    "attest",
    "verify",
    "deploy",
    "rollback",
    "releases",
    "history",
    "compare",
    "accept",
    "schema",
)
"""The commands in the order of ``hil --help``, which is the order in which a new user needs them."""

EMPTY_OPTION = re.compile(r"(--[a-z][a-z0-9-]*)=\s*")

INTERRUPTED = 130
"""The exit code that shells use for a program ended by SIGINT (128 + 2)."""


def _print_version(value: bool) -> None:  # noqa: FBT001 - the signature typer calls
    if value:
        typer.echo(f"pytest-hil {__version__}")
        raise typer.Exit


def _root(
    _version: Annotated[  # noqa: FBT002 - an option, given by name
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """May this neural network be deployed on that NVIDIA Jetson?"""


def build_app(names: Sequence[str] = COMMANDS) -> typer.Typer:
    """Return the typer application with the commands ``names``. Modules of other commands are not imported."""
    app = typer.Typer(
        name="hil",
        epilog="To judge models, run: pytest --target=NAME. Each command shows examples: hil COMMAND --help.",
        add_completion=False,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        callback=_root,
    )
    for name in names:
        module = import_module(f"hil.cli.{name}")
        if hasattr(module, "group"):
            app.add_typer(module.group, name=name)
        else:
            app.command(name)(module.command)
    return app


def run(arguments: Sequence[str] | None = None) -> int:
    """Run ``hil ARGUMENTS`` and return its exit code. A ``HilError`` is printed on stderr.

    ``None`` stands for the arguments of this process; without any argument, the help is printed.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        _refuse_empty(words)
        return _invoke(words or ["--help"])
    except HilError as error:
        sys.stderr.write(f"error: {error}\n")
        return int(error.exit_code)


def _refuse_empty(arguments: Sequence[str]) -> None:
    """Raise ``UserError`` if an argument or an option's value is blank, as after ``--target=$UNSET`` in a shell."""
    for before, argument in zip(("", *arguments), arguments, strict=False):
        option = EMPTY_OPTION.fullmatch(argument)
        if option or not argument.strip():
            name = option[1] if option else before if before.startswith("-") else "an argument"
            raise UserError(f"{name} is empty: is a shell variable not set? Set it, or leave the option out")


def _invoke(arguments: list[str]) -> int:
    # click's base class of usage errors, through typer: typer either vendors click or uses the installed one.
    usage_error: Any = typer.BadParameter.__mro__[2]
    names = arguments[:1] if arguments[0] in COMMANDS else COMMANDS
    try:
        code = build_app(names)(arguments, prog_name="hil", standalone_mode=False)
    except usage_error as error:
        command = error.ctx.command_path if getattr(error, "ctx", None) else "hil"
        sys.stderr.write(
            f"error: {error.format_message().rstrip('.')}: run {command} --help for its arguments and options\n"
        )
        return int(ExitCode.USER_ERROR)
    except typer.Abort:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    return int(code or 0)
