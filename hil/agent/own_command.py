"""Return the command by which the agent starts further processes of itself."""

import os
import sys
from typing import List, Optional


def own_command(archive: str) -> List[str]:
    """Return the command that starts ``archive`` with this interpreter, with ``-X hil_agent`` if this process has it.

    ``-X hil_agent=FOLDER`` makes the agent import its modules from a folder.
    """
    folder = _folder()
    if folder is None:
        return [sys.executable, "-B", archive]
    return [sys.executable, "-X", "hil_agent=%s" % folder, archive]


def own_path() -> str:
    """Return the path that a new interpreter needs in ``sys.path`` to import this package."""
    if _folder() is not None:
        return os.path.abspath(sys.argv[0])  # the archive
    path = os.path.abspath(__file__)
    for _ in __name__.split("."):
        path = os.path.dirname(path)
    return path


def _folder() -> Optional[str]:
    """Return the folder of ``-X hil_agent=FOLDER``; None if this process was started without that option."""
    folder = sys._xoptions.get("hil_agent")  # noqa: SLF001 - documented, for implementations that have it
    return folder if isinstance(folder, str) else None
