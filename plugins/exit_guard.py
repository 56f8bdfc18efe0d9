"""The outermost hook of a run: whatever other hooks do, a hil run exits with 0 only if its accounts gave 0."""

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
LISTED = "--hil-gate judges a run, but --{} runs no test: remove one of the two options"
SPELLED = {"collectonly": "collect-only", "showfixtures": "fixtures", "show_fixtures_per_test": "fixtures-per-test"}
SPELLED |= {"cacheshow": "cache-show"}
"""Options whose spelling differs from their ``dest`` name."""


class Outermost:
    """A plugin that is registered after the initial conftests, so that its hook wrapper encloses their hooks."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> Generator[None, object, object]:
        """Run pytest; then decide, after all other hooks, whether the exit code may be 0.

        Raise ``UsageError`` for ``--hil-gate`` together with an option that runs no tests, such as ``--collect-only``.
        """
        if activation.is_worker(config):
            return (yield)
        load = getattr(config.option, "distload", None)
        config.stash[activation.DIST] = "load" if load else config.getoption("dist", "no")
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
            current_run.end(config)
        if (not activation.is_requested(config) and activation.ACTIVATED not in config.stash) or (
            not gate and activation.listing(config)
        ):
            if ended is not None:
                raise ended
            return code
        return _code(config, code) if ended is None else _ended(config, ended)


def _unconfigure(config: pytest.Config) -> SystemExit | None:
    """Do now what pytest does after this hook: unconfigure. Return the first ``SystemExit`` of a hook, or ``None``."""
    try:
        config._ensure_unconfigure()  # noqa: SLF001 - pytest has no public way to end a run
    except SystemExit as error:
        _unconfigure(config)  # the first call stopped at the exception
        return error
    return None


def _code(config: pytest.Config, code: object) -> object:
    """Return the exit code of a hil run that pytest ended with ``code``.

    A ``code`` other than 0 stays. Instead of 0, return the code of the accounts, or 1 if pytest ended before the
    accounts had a code.
    """
    if code != 0 or config.stash.get(activation.DECIDED, None) == 0:
        return code
    if activation.DECIDED not in config.stash:
        sys.stderr.write("error: pytest ended before hil could judge the run: look for pytest.exit() in a hook\n")
        return int(ExitCode.FAILED)
    return config.stash[activation.DECIDED]


def _ended(config: pytest.Config, error: SystemExit) -> int:
    """Print that ``error`` ended the run, make the run's report a failed one, and return the exit code, never 0."""
    from hil.errors import UserError
    from hil.plugins import finish_run

    problem = UserError(
        f"a hook of a plugin or conftest raised SystemExit({error.code}), which ended pytest during the run: "
        "remove sys.exit() from the hook"
    )
    sys.stderr.write(f"error: {problem}\n")
    if run := current_run.active_run(config):
        finish_run.refuse(run, problem)
    return config.stash.get(activation.DECIDED, 0) or int(problem.exit_code)
