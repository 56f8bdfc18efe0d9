"""Compose the commands that install missing software, for the target's interpreter and JetPack.

Package names are those of NVIDIA's and Ubuntu's repositories. None of the commands was tried on a real board.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from hil.doctor.findings import Case, text
from hil.runtimes import runtime_record

if TYPE_CHECKING:
    from hil.jetson import Identity

SYSTEM = ("/usr/bin/python3",)
APT = "sudo apt-get install"
ILLEGAL = "SIGILL"
DLA = "libnvdla_compiler"


def python_of(case: Case) -> str:
    """Return the path of the target's interpreter: as the interpreter reported it, else as configured."""
    return case.text("executable") or case.spec.python or "python3"


def is_system(case: Case) -> bool:
    """Return whether the target's interpreter is the distribution's own, so that apt installs its modules."""
    return python_of(case).startswith(SYSTEM) and not is_environment(case)


def is_environment(case: Case) -> bool:
    """Return whether the interpreter belongs to a virtual environment."""
    prefixes: Any = case.facts.get("prefix")
    return isinstance(prefixes, list) and len(prefixes) == 2 and prefixes[0] != prefixes[1]  # prefix, base_prefix


def pip(case: Case, packages: str) -> str:
    """Return the command that installs ``packages`` with pip for the target's interpreter."""
    user = "" if is_environment(case) else " --user"
    return f"{shlex.quote(python_of(case))} -m pip install{user} {packages}"


def numpy(case: Case) -> str:
    """Return the command that installs numpy for the target's interpreter."""
    why = text(case.table("why_not").get("numpy")) or ""
    if ILLEGAL in why:
        # OpenBLAS in numpy 1.19.5 misidentifies the CPU of a Nano or TX2 (numpy/numpy#18131).
        return pip(case, "numpy==1.19.4")
    return f"{APT} python3-numpy" if is_system(case) else pip(case, "numpy")


def runtime(case: Case, identity: Identity) -> str:
    """Return the fix for a missing runtime: a command that installs it, or a line for ``hil.toml``."""
    record = runtime_record(case.spec.runtime)
    if not record.comes_with_jetpack:
        more = " --break-system-packages" if is_system(case) and (case.text("python") or "").startswith("3.12") else ""
        return pip(case, f"{record.package}{more}")
    why = text(case.table("why_not").get(record.name)) or ""
    if DLA in why:
        return _dla_compiler(identity)
    return _from_jetpack(case) if identity.is_jetson else pip(case, record.package)


def _from_jetpack(case: Case) -> str:
    """Return the fix for a missing TensorRT module on a Jetson.

    The module is a system package, which only the system's interpreter and its virtual environments can import.
    """
    if is_environment(case):
        return f"python3 -m venv --system-site-packages {shlex.quote(_folder(case))}  # a system package"
    if not is_system(case):
        return f'python = "/usr/bin/python3"  {case.config}: JetPack\'s module only works with it'
    complete = has_jetpack(case) and case.text("board", "libraries", "nvinfer") is not None
    return f"{APT} python3-libnvinfer" if complete else f"{APT} nvidia-jetpack"


def setup(case: Case) -> str:
    """Return the ``hil board setup`` command, with the services of the installed helper and those of the config."""
    listed: Any = case.table("helper").get("services")
    allowed = [name for name in listed if text(name)] if isinstance(listed, list) else []
    names = dict.fromkeys([*allowed, *case.spec.stop_services])
    services = "".join(f" --service {shlex.quote(name)}" for name in names)
    return (
        f"hil board setup {shlex.quote(case.name)}{services}  # run it here; it asks for sudo's password on the board"
    )


def driver(identity: Identity) -> str:
    """Return the command that installs the CUDA driver library; empty if its package is unknown, as for L4T 38."""
    major = (identity.l4t or "").partition(".")[0]
    return f"{APT} --reinstall nvidia-l4t-cuda" if major in {"32", "35", "36"} else ""


def has_jetpack(case: Case) -> bool:
    """Return whether the package ``nvidia-jetpack`` is installed on the board."""
    return case.text("board", "packages", "nvidia-jetpack") is not None


def _folder(case: Case) -> str:
    prefixes: Any = case.facts.get("prefix")
    return str(prefixes[0])


def _dla_compiler(identity: Identity) -> str:
    """Return the fix for a missing DLA compiler."""
    major = (identity.l4t or "").partition(".")[0]
    if major in {"36", "38"}:
        return f"{APT} nvidia-l4t-dla-compiler"
    if major == "39":
        return (
            f"{APT} --reinstall python3-libnvinfer libnvinfer-bin  # an older JetPack's TensorRT needs the DLA compiler"
        )
    return f"{APT} --reinstall nvidia-jetpack"


def shared_library(identity: Identity) -> str:
    """Return the command that installs a missing NVIDIA library; empty for a machine that is not a Jetson."""
    return f"{APT} nvidia-jetpack" if identity.is_jetson else ""
