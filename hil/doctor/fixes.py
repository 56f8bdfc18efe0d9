"""The commands that bring missing software, by interpreter and JetPack.

Package names are those of NVIDIA's and Ubuntu's repositories; none was tried on a real board.
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
    """The interpreter's path there, as it is told."""
    return case.text("executable") or case.spec.python or "python3"


def is_system(case: Case) -> bool:
    """Whether it is the distribution's own: its modules come by apt, and from Ubuntu 24.04 on by nothing else."""
    return python_of(case).startswith(SYSTEM) and not is_environment(case)


def is_environment(case: Case) -> bool:
    """Whether it is that of a virtual environment."""
    told: Any = case.facts.get("prefix")
    return isinstance(told, list) and len(told) == 2 and told[0] != told[1]  # sys.prefix, sys.base_prefix


def pip(case: Case, what: str) -> str:
    """By pip, into this very interpreter."""
    user = "" if is_environment(case) else " --user"
    return f"{shlex.quote(python_of(case))} -m pip install{user} {what}"


def numpy(case: Case) -> str:
    """Brings numpy to this interpreter."""
    why = text(case.table("why_not").get("numpy")) or ""
    if ILLEGAL in why:
        # OpenBLAS in numpy 1.19.5 takes a Nano's or TX2's CPU for another one (numpy/numpy#18131).
        return pip(case, "numpy==1.19.4")
    return f"{APT} python3-numpy" if is_system(case) else pip(case, "numpy")


def runtime(case: Case, found: Identity) -> str:
    """Brings the target's runtime to this interpreter."""
    record = runtime_record(case.spec.runtime)
    if not record.comes_with_jetpack:
        more = " --break-system-packages" if is_system(case) and (case.text("python") or "").startswith("3.12") else ""
        return pip(case, f"{record.package}{more}")
    why = text(case.table("why_not").get(record.name)) or ""
    if DLA in why:
        return _dla_compiler(found)
    return _jetpacks_own(case) if found.is_jetson else pip(case, record.package)


def _jetpacks_own(case: Case) -> str:
    """TensorRT's module on a Jetson: a package of the system, for the system's interpreter."""
    if is_environment(case):
        return f"python3 -m venv --system-site-packages {shlex.quote(_folder(case))}  # JetPack's is a system package"
    if not is_system(case):
        return f'python = "/usr/bin/python3"  {case.config}: JetPack\'s module is for that one alone'
    whole = has_jetpack(case) and case.text("board", "libraries", "nvinfer") is not None
    return f"{APT} python3-libnvinfer" if whole else f"{APT} nvidia-jetpack"


def setup(case: Case) -> str:
    """Installs root's helper, with every service that it may restart already and those that the config stops."""
    told: Any = case.table("helper").get("services")
    allowed = [one for one in told if text(one)] if isinstance(told, list) else []
    services = "".join(f" --service {shlex.quote(one)}" for one in dict.fromkeys([*allowed, *case.spec.stop_services]))
    return f"hil board setup {shlex.quote(case.name)}{services}  # here; asks for sudo's password there"


def driver(found: Identity) -> str:
    """The CUDA driver's library: a part of L4T by itself up to 36; on what came after no source was found."""
    major = (found.l4t or "").partition(".")[0]
    return f"{APT} --reinstall nvidia-l4t-cuda" if major in {"32", "35", "36"} else ""


def has_jetpack(case: Case) -> bool:
    """Whether the package of all of JetPack is there: a board that was only flashed has no CUDA and no TensorRT."""
    return case.text("board", "packages", "nvidia-jetpack") is not None


def _folder(case: Case) -> str:
    told: Any = case.facts.get("prefix")
    return str(told[0])


def _dla_compiler(found: Identity) -> str:
    """On L4T 36 and 38 a package of its own, which 39 has no more: its own TensorRT does not ask for it."""
    major = (found.l4t or "").partition(".")[0]
    if major in {"36", "38"}:
        return f"{APT} nvidia-l4t-dla-compiler"
    if major == "39":
        return f"{APT} --reinstall python3-libnvinfer libnvinfer-bin  # one of an older JetPack wants the DLA"
    return f"{APT} --reinstall nvidia-jetpack"


def shared_library(found: Identity) -> str:
    """A library of NVIDIA's that is not there: the package of all of JetPack brings each, under whatever name."""
    return f"{APT} nvidia-jetpack" if found.is_jetson else ""
