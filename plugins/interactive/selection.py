"""Finds the selection of tests that the user typed. A run of a selection is a trial: only the selected rows are judged.

A selection in an ini file or ``PYTEST_ADDOPTS`` does not count as typed. In CI, and with ``--hil-gate`` or
``--hil-sign-key``, no run is a trial.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hil.plugins.command_line import WITHOUT_VALUE, read

if TYPE_CHECKING:
    import argparse

FOLDER = "partial"
"""The folder inside the report's folder into which the report of a selection is written."""
CI = ("CI", "BUILD_NUMBER")
"""Variables that CI systems set; pytest itself recognizes a CI system by these two."""
WHOLE = (WITHOUT_VALUE, "hil_sign_key")
"""Options, by ``dest`` name, with which a run is judged as a whole whatever was selected."""
SUITES = "hil.suites"
VALUES = {"keyword": "-k", "markexpr": "-m", "deselect": "--deselect", "ignore": "--ignore"}
VALUES |= {"ignore_glob": "--ignore-glob"}
FLAGS = {"lf": "--lf", "stepwise": "--sw", "stepwise_skip": "--sw-skip"}
"""The shown spelling of pytest's options that leave tests out, by ``dest`` name."""
HELP = {"-h", "--help"}
"""Arguments that are left out when the command line is parsed here: parsing them would print pytest's help."""
LONGEST = 120
KEY = "hil_selection"
"""The key under which the controller sends the selection to its xdist workers."""


@dataclass(frozen=True)
class Selection:
    """What the user selected, as ``text`` such as ``-k grasp``; false in a condition if nothing was selected.

    ``files`` are the files and folders whose tests were all selected; empty with an option such as ``-k``. ``root`` is
    pytest's rootdir, to which node ids are relative.
    """

    text: str = ""
    files: tuple[str, ...] = ()
    root: str = ""

    def __bool__(self) -> bool:
        return bool(self.text)

    def has(self, test: str) -> bool:
        """Return whether ``test``, a node id, lies in a file or folder whose tests were all selected."""
        path = Path(os.path.normpath(Path(self.root, test.split("::", maxsplit=1)[0])))
        return any(path.is_relative_to(file) for file in self.files)


def selection_of(config: pytest.Config) -> Selection:
    """Return the selection that was typed; in an xdist worker, the one that the controller sent."""
    sent: list[Any] | None = getattr(config, "workerinput", {}).get(KEY)
    if sent is not None:
        return Selection(str(sent[0]), tuple(sent[1]), str(sent[2]))
    if hasattr(config, "workerinput") or any(os.environ.get(name) for name in CI):
        return Selection()
    if any(name in read(config).options for name in WHOLE):
        return Selection()
    typed = [word for word in map(str, config.invocation_params.args) if word not in HELP]
    try:
        options, _ = config._parser.parse_known_and_unknown_args(typed)  # noqa: SLF001 - pytest keeps no typed arguments apart
    except (pytest.UsageError, SystemExit):  # pytest reports it
        return Selection()
    return _selection(options, config)


def _selection(options: argparse.Namespace, config: pytest.Config) -> Selection:
    folder = config.invocation_params.dir
    words = [word for word in options.file_or_dir if options.pyargs or _is_path(word, folder)]
    paths = [] if SUITES in words else words  # the stock suites as a whole are not a selection, whatever is added
    shown = [f"{name} {_text(value)}" for key, name in VALUES.items() if (value := getattr(options, key, None))]
    shown += [name for key, name in FLAGS.items() if getattr(options, key, False)]
    text = " ".join([*paths, *shown])
    alone = not shown and not options.pyargs
    files = tuple(os.path.normpath(folder / path) for path in paths if "::" not in path) if alone else ()
    return Selection(text if len(text) <= LONGEST else f"{text[:LONGEST]}…", files, str(config.rootpath))


def _text(value: object) -> str:
    return shlex.join(map(str, value if isinstance(value, (list, tuple)) else [value]))


def _is_path(word: str, folder: Path) -> bool:
    """Return whether ``word`` looks like a path or node id, or exists in ``folder``."""
    if any(sign in word for sign in ("::", "/", os.sep)) or word.endswith(".py"):
        return True
    try:
        return (folder / word).exists()
    except (OSError, ValueError):
        return False
