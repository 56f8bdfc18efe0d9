"""Decides whether a pytest run uses hil: through a hil option, a stock suite, or a test with a hil fixture."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from hil.plugins.command_line import OPTIONS, is_suite, read

RUN_ID: pytest.StashKey[str] = pytest.StashKey()
ACTIVATED: pytest.StashKey[bool] = pytest.StashKey()
DECIDED: pytest.StashKey[int] = pytest.StashKey()
DIST: pytest.StashKey[str] = pytest.StashKey()
"""The value of ``--dist`` as the user gave it, before pytest-xdist replaces it."""
TARGET_IS_FOREIGN: pytest.StashKey[bool] = pytest.StashKey()
"""Whether another plugin or a conftest defines ``--target``."""
LISTINGS = ("help", "version", "markers", "showfixtures", "show_fixtures_per_test", "collectonly", "cacheshow")
"""Options with which pytest only prints something and runs no test."""
INSTALLED = {"site-packages", "dist-packages"}


def add_suites(config: pytest.Config) -> None:
    """Add the stock suites to the project's tests if the command line names a target but no test.

    They are not added if pytest collects them anyway.
    """
    if not config.getoption("hil_target", None) or config.args_source is config.ArgsSource.ARGS:
        return
    suites = (Path(__file__).parent.parent / "suites").resolve()
    roots = [(config.invocation_params.dir / arg.split("::")[0]).resolve() for arg in config.args]
    # Avoid adding them twice if pytest collects them anyway, as in this repository; it skips installed packages.
    parents = [root for root in roots if suites.is_relative_to(root)]
    collected = any(INSTALLED.isdisjoint(suites.relative_to(root).parts) for root in parents)
    if not collected and not any(_is_copy(suites, root) for root in roots):
        config.args.append(str(suites))


def _is_copy(suites: Path, folder: Path) -> bool:
    """Return whether ``folder`` is a copy of ``suites``, such as a clone of hil's repository.

    Only ``test_contract.py`` is compared.
    """
    installed, other = suites / "test_contract.py", folder / "test_contract.py"
    return other.is_file() and other.read_bytes() == installed.read_bytes()


def target_is_lost(config: pytest.Config) -> bool:
    """Return whether ``--target`` belongs to another plugin or conftest and is used without ``--hil-target``."""
    options = read(config).options
    return "target" in options and "hil_target" not in options and config.stash.get(TARGET_IS_FOREIGN, False)


def is_worker(config: pytest.Config) -> bool:
    """Return whether this process is an xdist worker. Workers judge; the controller keeps the accounts."""
    return hasattr(config, "workerinput")


def is_requested(config: pytest.Config) -> bool:
    """Return whether the command line has a hil option or names a stock suite."""
    if any(config.getoption(name, None) is not None for name in OPTIONS):
        return True
    return any(map(is_suite, (*config.invocation_params.args, *config.args)))


def listing(config: pytest.Config) -> str | None:
    """Return the ``dest`` name of a used option, such as ``collectonly``, with which pytest runs no test; else None."""
    return next((name for name in LISTINGS if getattr(config.option, name, None)), None)


def lists_only(config: pytest.Config) -> bool:
    """Return whether an option such as ``--collect-only`` makes pytest run no test. No report is written then."""
    return listing(config) is not None


def run_id(config: pytest.Config) -> str:
    """Return the run's id. The controller creates it and sends it to its xdist workers."""
    if RUN_ID not in config.stash:
        config.stash[RUN_ID] = getattr(config, "workerinput", {}).get("hil_run_id") or secrets.token_hex(8)
    return config.stash[RUN_ID]
