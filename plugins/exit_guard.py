"""The outermost hook of a run: whatever other hooks do, a run with hil in it has the exit code of its report."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from hil.errors import ExitCode
from hil.plugins import activation, current_run
from hil.plugins.command_line import read

if TYPE_CHECKING:
    from collections.abc import Generator

NAME = "hil-outermost"
LISTED = "--hil-gate judges what ran, and --{} runs nothing: leave one of them out"
SPELLED = {"collectonly": "collect-only", "showfixtures": "fixtures", "show_fixtures_per_test": "fixtures-per-test"}
SPELLED |= {"cacheshow": "cache-show"}
"""Listings whose option is not named after where pytest keeps it."""


class Outermost:
    """Registered after all conftests that pytest loads at first, so that its wrapper is around theirs."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> Generator[None, object, object]:
        """Refuse a gate on a listing, and have the last word on exit code 0."""
        if activation.is_worker(config):
            return (yield)
        gate = bool(config.getoption("hil_gate", None) or read(config).options.get("hil_gate"))
        ended: SystemExit | None = None
        code: object = None
        try:
            if gate and (listing := activation.listing(config)):
                raise pytest.UsageError(LISTED.format(SPELLED.get(listing, listing)))
            code = yield
        except SystemExit as error:
            ended = error
        finally:
            ended = _unconfigure(config) or ended
            current_run.forget(config)
        if (not activation.asked_for(config) and activation.AWOKE not in config.stash) or (
            not gate and activation.listing(config)
        ):
            if ended is not None:
                raise ended
            return code
        return _code(config, code) if ended is None else _ended(config, ended)


def _unconfigure(config: pytest.Config) -> SystemExit | None:
    """End the run as pytest does after this hook, where nothing would catch a ``SystemExit``; return the first."""
    try:
        config._ensure_unconfigure()  # noqa: SLF001 - pytest has no public way to end a run
    except SystemExit as error:
        _unconfigure(config)  # what the call left undone
        return error
    return None


def _code(config: pytest.Config, code: object) -> object:
    """``code``, unless it is a 0 that the accounts never gave: of a hook that came later, or of an early exit."""
    if code != 0 or config.stash.get(activation.DECIDED, None) == 0:
        return code
    if activation.DECIDED not in config.stash:
        sys.stderr.write("error: pytest was ended before hil could judge the run: look for pytest.exit() in a hook\n")
        return int(ExitCode.FAILED)
    return config.stash[activation.DECIDED]


def _ended(config: pytest.Config, error: SystemExit) -> int:
    """The exit code of a run that ended by ``SystemExit``, whose report is not green."""
    from hil.errors import UserError
    from hil.plugins import finish_run

    problem = UserError(
        f"a hook of a plugin or conftest raised SystemExit({error.code}): pytest was ended before the run was: "
        "take sys.exit() out of it"
    )
    sys.stderr.write(f"error: {problem}\n")
    if run := current_run.awake(config):
        finish_run.refuse(run, problem)
    return config.stash.get(activation.DECIDED, 0) or int(problem.exit_code)
