"""What an engine runs with: interpreter, numpy, runtime, CUDA and its libraries, the driver, who may open the GPU."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from hil.doctor import fixes
from hil.doctor.findings import Case, Finding, State, table, text
from hil.jetson import Identity, identify, versions
from hil.runtimes import runtime_record

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBRARIES = {"cuda": "CUDA", "tensorrt": "libnvinfer", "cudnn": "cuDNN"}
REASONS = {"cuda": "cuda", "tensorrt": "nvinfer", "cudnn": "cudnn"}


def findings(case: Case) -> Iterator[Finding]:
    """From the interpreter to the GPU's device nodes."""
    found = identify(case.facts.get("board"))
    yield Finding("software", "python", f"{case.text('python') or 'of no known version'}, {fixes.python_of(case)}")
    yield _module(case, "numpy", "numpy", case.text("numpy"), fixes.numpy(case))
    runtime = case.spec.runtime
    version = case.text("runtimes", runtime)
    yield _module(case, runtime, runtime_record(runtime).label, version, fixes.runtime(case, found))
    if case.wants_gpu or found.is_jetson:
        yield from _libraries(case, found)
        yield from _driver(case)


def _module(case: Case, key: str, name: str, version: str | None, mend: str) -> Finding:
    if version is not None:
        return Finding("software", name, version)
    if case.held and case.table("there").get(key) is True:
        return Finding("software", name, "there; not imported while it is held", "unknown")
    if case.held:
        return Finding("software", name, f"{fixes.python_of(case)} has no module {key}", "bad", mend)
    why = text(case.table("why_not").get(key)) or "the reason was not told"
    return Finding("software", name, f"cannot be imported: {why}", "bad", mend)


def _libraries(case: Case, found: Identity) -> Iterator[Finding]:
    """By the libraries' own words; other ones than JetPack came with are fine, none are not where TensorRT runs."""
    told = versions(case.facts.get("board"))
    came = found.release
    with_it = {} if came is None else {"cuda": came.cuda, "tensorrt": came.tensorrt, "cudnn": came.cudnn}
    for key, name in LIBRARIES.items():
        version, usual = told[key], with_it.get(key)
        if version is not None:
            other = usual is not None and came is not None and not _same(version, usual)
            note = f" (JetPack {came.jetpack} came with {usual})" if other and came is not None else ""
            yield Finding("software", name, version + note)
        elif case.held and key != "cuda":
            yield Finding("software", name, "not asked while it is held", "unknown")
        else:
            yield _missing(case, found, key, name)


def _missing(case: Case, found: Identity, key: str, name: str) -> Finding:
    why = _because(case, REASONS[key])
    if not case.wants_gpu:
        return Finding("software", name, "not there, and not needed by ONNX Runtime")
    # A toolkit is wanted by nobody here, and cuDNN by few networks; without libnvinfer nothing runs.
    state: State = "bad" if key == "tensorrt" else "warn"
    return Finding("software", name, f"not there{why}", state, fixes.shared_library(found))


def _because(case: Case, key: str) -> str:
    """Why it could not be read, where that is more than that it is not there."""
    why = case.why(key)
    return "" if why.startswith(" (there is no ") or "No such file" in why else why


def _same(version: str, usual: str) -> bool:
    """As far as both tell: JetPack's table has 10.3.0 where the library says 10.3.0.30."""
    one, other = re.split(r"\.", version), re.split(r"\.", usual)
    shared = min(len(one), len(other))
    return one[:shared] == other[:shared]


def _driver(case: Case) -> Iterator[Finding]:
    closed = _closed(case)
    mend = _groups(case, closed)
    lacks = fixes.driver(identify(case.facts.get("board")))
    answer = case.table("board", "cuinit")
    if not case.wants_gpu:
        pass
    elif case.held:
        yield Finding("software", "driver", "not asked while it is held", "unknown")
    elif not answer:
        yield Finding("software", "driver", f"cuInit did not answer{case.why('cuinit')}", "bad", lacks)
    elif answer.get("code") != 0:
        told = f"cuInit failed with {text(answer.get('error')) or answer.get('code')}"
        yield Finding("software", "driver", told, "bad", mend or "sudo reboot  # if nothing else helps")
    else:
        yield Finding("software", "driver", "cuInit answers")
    if closed:
        told = f"{', '.join(sorted(closed)[:3])} cannot be opened by {_user(case)}"
        yield Finding("software", "groups", told, "bad" if case.wants_gpu else "warn", mend)
    elif case.table("board").get("devices"):
        yield Finding("software", "groups", f"{_user(case)} may open the GPU's device nodes")


def _user(case: Case) -> str:
    return case.text("account", "name") or "this user"


def _closed(case: Case) -> dict[str, str | None]:
    """The device nodes that may not be opened, and the group of each that might."""
    nodes = case.table("board").get("devices")
    listed = [one for one in nodes if table(one)] if isinstance(nodes, list) else []
    return {
        str(text(one.get("path"))): text(table(one, "group").get("name"))
        for one in listed
        if one.get("usable") is False and text(one.get("path"))
    }


def _groups(case: Case, closed: dict[str, str | None]) -> str:
    """Joining a group that root keeps for itself would give the whole machine away: those are left out."""
    wanted = sorted({group for group in closed.values() if group and group != "root"})
    if not wanted:
        return ""
    user = case.text("account", "name") or "USER"
    return f"sudo usermod -aG {shlex.quote(','.join(wanted))} {shlex.quote(user)}  # counts from the next login on"
