"""Run by every interpreter that a test starts (``PYTHONPATH``), of any version; acts only in an agent of this host."""

import sys

if "hil_agent" in sys._xoptions:  # noqa: SLF001 - documented, for implementations that have it
    import importlib

    importlib.import_module("forks").install()
