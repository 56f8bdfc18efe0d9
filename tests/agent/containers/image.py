"""A podman image of this interpreter, with numpy and ONNX Runtime in separate folders and no operating system."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

PYTHON = "/opt/python/bin/python3"
FULL, WITHOUT_RUNTIME, SLOW = "/opt/numpy:/opt/onnxruntime", "/opt/numpy", "/opt/slow"
"""``PYTHONPATH`` with numpy and ONNX Runtime, with numpy alone, and with a module that delays Python's start."""
NOT_NEEDED = (
    *("test", "idlelib", "tkinter", "ensurepip", "lib2to3", "site-packages", "config-*", "*.opt-?.pyc"),
    *("distutils", "pydoc_data", "turtledemo", "_tkinter*", "_test*", "_codecs_*"),
)
LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")
# Where cgroups are of version 1 or cannot be written to, podman can only run without limits.
ARGS = ("--cgroups=disabled", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096")


@dataclass(frozen=True)
class Podman:
    """A podman with its own storage; ``folder`` has the wrapper program, to be put first in ``PATH``."""

    folder: Path

    def __call__(self, *words: str) -> str:
        """Return the output of a podman command."""
        done = subprocess.run([self.folder / "podman", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"podman {' '.join(words)}: {done.stderr}")
        return done.stdout.strip()


def podman(folder: Path) -> Podman:
    """Return a podman that sees only cgroups of version 2, so that it also works where version 1 is mounted."""
    program = _program("podman")
    bin_folder = folder / "bin"
    bin_folder.mkdir(parents=True)
    inside = f'mount -t cgroup2 none /sys/fs/cgroup && exec {program} --root {folder}/root --runroot {folder}/run "$@"'
    wrapper = bin_folder / "podman"
    wrapper.write_text(f"#!/bin/sh\nexec unshare -m sh -c '{inside}' podman \"$@\"\n", encoding="utf-8")
    wrapper.chmod(0o755)
    return Podman(bin_folder)


def make(engine: Podman, folder: Path) -> None:
    """Import the images ``hil-test:full`` and ``hil-test:bare``, which is empty."""
    root = folder / "image"
    for name in ("dev", "proc", "sys", "etc", "run", "opt/slow", "opt/numpy", "opt/onnxruntime", "opt/python/bin"):
        (root / name).mkdir(parents=True)
    (root / "tmp").mkdir(mode=0o1777)
    _import(engine, root, "hil-test:bare")
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    library = Path(os.__file__).parent
    shutil.copytree(
        library, root / "opt/python/lib" / version, ignore=shutil.ignore_patterns(*NOT_NEEDED), symlinks=True
    )
    shutil.copy(Path(sys.executable).resolve(), root / PYTHON[1:])
    for module in (np, onnxruntime):
        package = Path(module.__path__[0])
        for source in (package, package.with_name(f"{package.name}.libs")):
            if source.is_dir():
                ignore = shutil.ignore_patterns(
                    "tests", "transformers", "quantization", "tools", "f2py", "include", "*.pyi", "libonnxruntime.so*"
                )
                shutil.copytree(source, root / "opt" / package.name / source.name, ignore=ignore)
    (root / "opt/slow/sitecustomize.py").write_text("import time\ntime.sleep(60)\n", encoding="ascii")
    _libraries(root)
    _import(engine, root, "hil-test:full")
    shutil.rmtree(root)


def _program(name: str) -> str:
    return shutil.which(name) or name


def _libraries(root: Path) -> None:
    """Copy the shared libraries of the interpreter and of its modules, each to its own path."""
    files = [str(root / PYTHON[1:]), *map(str, root.rglob("*.so*"))]
    output = subprocess.run([_program("ldd"), *files], capture_output=True, text=True, check=False).stdout
    for library in set(LIBRARY.findall(output)):
        if not library.startswith(str(root)):
            place = root / library[1:]
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, place)


def _import(engine: Podman, root: Path, name: str) -> None:
    tar = root.with_suffix(".tar")
    subprocess.run([_program("tar"), "-C", root, "-cf", tar, "."], check=True)
    engine("import", "-q", str(tar), name)
    tar.unlink()
