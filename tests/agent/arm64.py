"""A root file system of another architecture: Debian's arm64 packages run by qemu, with the wheels of a board."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = ("apt-get", "dpkg-deb", "qemu-aarch64-static", "unshare", "chroot", "mount")
# Importing 1.32 crashes qemu-user 7.2 with a segmentation fault, whatever processor it emulates; 1.23 does not.
WHEELS = ("numpy", "onnxruntime==1.23.2")
PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_27_aarch64", "manylinux_2_28_aarch64")
PACKAGES = ("python3", "coreutils", "libstdc++6")
APT = (
    "Dir::State={0} Dir::State::lists={0}/lists Dir::State::status={0}/status Dir::Cache={0} "
    "Dir::Etc::SourceList={0}/sources.list Dir::Etc::SourceParts=/dev/null APT::Sandbox::User=root "
    "APT::Architecture=arm64 APT::Architectures=arm64 APT::Install-Recommends=false Acquire::Languages=none "
    "pkgCacheGen::Essential=none"
)
"""Options of apt for arm64: its files are in the folder ``{0}``, and essential packages are not added."""
HANDLER = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")
"""The kernel's handler for arm64 programs; its flag F opens qemu at registration, so it works in any root."""
REGISTRY = Path("/proc/sys/fs/binfmt_misc")
SITE = "opt/site"
INSIDE = (
    'R=$1 W=$2; shift 2; cd "$R" && mount --rbind /proc proc && mount --rbind /sys sys && mount --rbind /dev dev '
    '&& mount --bind "$W" mnt && exec chroot . /usr/bin/env PYTHONPATH=/' + SITE + ' "$@"'
)


def path_of(program: str) -> str:
    """Return the program's path, also from folders that only root's PATH has."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or ""


def mirror() -> tuple[str, str]:
    """Return this machine's Debian mirror and release, from apt's configuration. Skip the test if it has none."""
    folder = Path("/etc/apt")
    lines = [*folder.glob("sources.list"), *sorted(folder.glob("sources.list.d/*.list"))]
    for text in (path.read_text(encoding="utf-8") for path in lines):
        if match := re.search(r"^deb\s+(?:\[[^\]]*\]\s+)?(http\S+/debian/?)\s+(\w+)\s+main", text, re.MULTILINE):
            return match[1], match[2]
    for text in (path.read_text(encoding="utf-8") for path in sorted(folder.glob("sources.list.d/*.sources"))):
        for stanza in re.split(r"\n\s*\n", text):
            fields = dict(re.findall(r"^(URIs|Suites):\s*(\S+)", stanza, re.MULTILINE))
            if fields.get("URIs", "").rstrip("/").endswith("/debian") and re.fullmatch(
                r"\w+", fields.get("Suites", "")
            ):
                return fields["URIs"], fields["Suites"]
    pytest.skip("apt has no Debian mirror, which an arm64 userland is created from")


def userland(folder: Path) -> Path:
    """Return the root file system, created once in ``folder`` even if several processes need it."""
    if os.geteuid() != 0:
        pytest.skip("an arm64 userland needs root")
    for program in PROGRAMS:
        if not path_of(program):
            pytest.skip(f"{program} is missing, which an arm64 userland needs")
    folder.mkdir(parents=True, exist_ok=True)
    root = folder / "arm64"
    with (folder / "arm64.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / "ready").exists():
            shutil.rmtree(root, ignore_errors=True)
            _unpack(folder / "arm64.packages", root)
            _wheels(folder / "arm64.wheels", root)
            (root / "ready").touch()
    return root


def _run_or_skip(*words: str | Path) -> None:
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        output = f"{done.stdout[-300:]}{done.stderr[-300:]}"
        pytest.skip(f"the arm64 root file system cannot be created: {Path(words[0]).name}: {output}")


def _unpack(scratch: Path, root: Path) -> None:
    address, release = mirror()
    shutil.rmtree(scratch, ignore_errors=True)
    for name in ("lists/partial", "archives/partial"):
        (scratch / name).mkdir(parents=True)
    (scratch / "status").touch()
    (scratch / "sources.list").write_text(f"deb {address} {release} main\n", encoding="ascii")
    apt = [path_of("apt-get"), "-qq", *(word for option in APT.format(scratch).split() for word in ("-o", option))]
    _run_or_skip(*apt, "update")
    _run_or_skip(*apt, "install", "--yes", "--download-only", *PACKAGES)
    for name in ("proc", "sys", "dev", "mnt", "tmp", SITE):
        (root / name).mkdir(parents=True)
    for package in sorted(scratch.glob("archives/*.deb")):
        _run_or_skip(path_of("dpkg-deb"), "-x", package, root)
    shutil.rmtree(scratch)


def _wheels(scratch: Path, root: Path) -> None:
    version = (root / "usr/bin/python3").readlink().name.removeprefix("python")
    shutil.rmtree(scratch, ignore_errors=True)
    options = ["-q", "--no-deps", "--only-binary", ":all:", "--python-version", version, "-d", str(scratch)]
    for platform in PLATFORMS:
        options += ["--platform", platform]
    _run_or_skip(sys.executable, "-m", "pip", "download", "--disable-pip-version-check", *options, *WHEELS)
    for wheel in scratch.iterdir():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(root / SITE)
    shutil.rmtree(scratch)


def register_emulator() -> Iterator[None]:
    """Let the kernel run arm64 programs with qemu until the generator is resumed."""
    if not (REGISTRY / "register").exists():
        _run_or_skip(path_of("mount"), "-t", "binfmt_misc", "binfmt_misc", REGISTRY)
    if not HANDLER.exists():
        pytest.skip(f"{HANDLER} is missing, which registers handlers for foreign programs")
    name = f"hil-aarch64-{os.getpid()}"
    _, _, rest = HANDLER.read_text(encoding="ascii").strip().removeprefix(":").partition(":")
    (REGISTRY / "register").write_text(f":{name}:{rest}", encoding="ascii")
    yield
    (REGISTRY / name).write_text("-1", encoding="ascii")


def command_in(root: Path, folder: Path, *words: str) -> list[str]:
    """Return the command that runs ``words`` in ``root``, with ``folder`` mounted as /mnt until the command ends."""
    return [path_of("unshare"), "-m", "sh", "-c", INSIDE, "hil", str(root), str(folder), *words]
