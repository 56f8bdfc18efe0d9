"""Which folder the report goes to, also where the config has mistakes."""

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
"""``[project] report`` in a file that is not TOML, or not yet again."""


def report_folder(options: Mapping[str, Any], here: Path, root: Path) -> Path:
    """The folder of the run with these ``options``, started in ``here``, also where its config has mistakes.

    ``--hil-report``, else ``[project] report`` of ``--hil-config`` or of the ``hil.toml`` nearest to ``here`` or
    to ``root``, else ``report`` in ``here``.
    """
    if given := options.get("hil_report"):
        return here / str(given)
    try:
        named = options.get("hil_config")
        path = here / str(named) if named else find(here) or find(root, here)
        return here / DEFAULT if path is None else path.absolute().parent / _named_in(path)
    except (HilError, OSError, ValueError):
        return here / DEFAULT


def _named_in(path: Path) -> str:
    with path.open("rb") as stream:
        text = stream.read(MAX_SIZE).decode("utf-8-sig", errors="replace")
    try:
        project = parse(text, path.name).get("project")
    except HilError:
        found = REPORT_KEY.search(text)
        return found[2] if found else DEFAULT
    folder = project.get("report") if isinstance(project, dict) else None
    return folder if isinstance(folder, str) else DEFAULT
