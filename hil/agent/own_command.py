"""How the agent starts further processes of itself."""

import os
import sys
from typing import List, Optional


def own_command(archive: str) -> List[str]:
    """Return the words that start ``archive`` as this process was started: by this interpreter, from the same modules.

    ``-X hil_agent=FOLDER`` has the modules imported from a folder, where Python keeps their byte code. Only a host
    that is its own target passes it.
    """
    folder = _folder()
    if folder is None:
        return [sys.executable, "-B", archive]
    return [sys.executable, "-X", "hil_agent=%s" % folder, archive]


def own_path() -> str:
    """Return the entry of ``sys.path`` in which a new interpreter finds this package under the name it has here."""
    if _folder() is not None:
        return os.path.abspath(sys.argv[0])  # the archive
    path = os.path.abspath(__file__)
    for _ in __name__.split("."):
        path = os.path.dirname(path)
    return path


def _folder() -> Optional[str]:
    """Return the folder of ``-X hil_agent=FOLDER``."""
    folder = sys._xoptions.get("hil_agent")  # noqa: SLF001 - documented, for implementations that have it
    return folder if isinstance(folder, str) else None
