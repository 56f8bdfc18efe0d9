"""Determines the folder of the report, even if the config has mistakes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from hil.config.find_config import find
from hil.config.toml_text import MAX_SIZE, parse
from hil.errors import HilError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DEFAULT = "report"
REPORT_KEY = re.compile(r"""^[^#\n]*\breport\s*=\s*(["'])(.+?)\1""", re.MULTILINE)
"""Matches ``[project] report`` in a file that is not valid TOML, for example while it is edited."""


def report_folder(options: Mapping[str, Any], start: Path, root: Path) -> Path:
    """Return the report's folder for a run with ``options`` that was started in ``start``.

    It is ``--hil-report``, else ``[project] report`` of the config, else ``report`` beside the config or in ``start``.
    The config is ``--hil-config``, else the ``hil.toml`` nearest to ``start`` or to ``root`` (pytest's rootdir).
    Mistakes in the config are ignored.
    """
    if folder := options.get("hil_report"):
        return start / str(folder)
    try:
        config = options.get("hil_config")
        path = start / str(config) if config else find(start) or find(root, start)
        return start / DEFAULT if path is None else path.absolute().parent / _configured_folder(path)
    except (HilError, OSError, ValueError):
        return start / DEFAULT


def _configured_folder(path: Path) -> str:
    with path.open("rb") as stream:
        text = stream.read(MAX_SIZE).decode("utf-8-sig", errors="replace")
    try:
        project = parse(text, path.name).get("project")
    except HilError:
        match = REPORT_KEY.search(text)
        return match[2] if match else DEFAULT
    folder = project.get("report") if isinstance(project, dict) else None
    return folder if isinstance(folder, str) else DEFAULT
