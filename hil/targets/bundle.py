"""Packs the agent into one zip file that Python can run, named by its digest. Equal sources give equal bytes."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import zipfile
from pathlib import Path

import hil.agent

PACKAGE = "hil_agent"
INSTALLED = "hil_agent"
"""The name of an option of the interpreter: with ``-X hil_agent=FOLDER``, the agent's modules are imported from that
folder, not from the zip file."""

START = f"""\
import sys
folder = sys._xoptions.get("{INSTALLED}")
if folder is None:
    sys.dont_write_bytecode = True
else:
    from importlib.util import module_from_spec, spec_from_file_location
    spec = spec_from_file_location("{PACKAGE}", folder + "/__init__.py", submodule_search_locations=[folder])
    sys.modules["{PACKAGE}"] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules["{PACKAGE}"])
from {PACKAGE}.__main__ import main
main()
"""
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file can hold


def agent_bytes() -> bytes:
    """Return the zip file's content, which depends only on the sources."""
    root = installed_agent()
    files = {f"{PACKAGE}/{path.relative_to(root).as_posix()}": path.read_bytes() for path in root.rglob("*.py")}
    files["__main__.py"] = START.encode()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, files[name])
    return target.getvalue()


def installed_agent() -> Path:
    """Return the folder of the installed package ``hil.agent``, whose modules the zip file contains."""
    return Path(hil.agent.__file__).parent


def agent_archive(folder: Path) -> tuple[Path, str]:
    """Write the zip file into ``folder`` unless it exists; return its path and SHA-256."""
    content = agent_bytes()
    digest = hashlib.sha256(content).hexdigest()
    path = folder / f"agent-{digest[:12]}.pyz"
    if path.exists() and path.read_bytes() == content:
        return path, digest
    folder.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=path.name, dir=folder)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    Path(temporary).replace(path)
    return path, digest


def cache_folder() -> Path:
    """Return this user's cache folder: ``pytest-hil`` in ``$XDG_CACHE_HOME`` (if absolute) or in ``~/.cache``."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if root.startswith("/") else Path.home() / ".cache") / "pytest-hil"
