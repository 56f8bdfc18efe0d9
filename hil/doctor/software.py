"""Judge the software: interpreter, numpy, runtime, CUDA and its libraries, the driver, access to the GPU."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from hil.doctor import fixes
from hil.doctor.findings import Case, Finding, State, table, text
from hil.jetson import Identity, identify, versions
from hil.jetson.kernels import lacking_kernels
from hil.runtimes import runtime_record

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBRARIES = {"cuda": "CUDA", "tensorrt": "libnvinfer", "cudnn": "cuDNN"}
REASONS = {"cuda": "cuda", "tensorrt": "nvinfer", "cudnn": "cudnn"}


def findings(case: Case) -> Iterator[Finding]:
    """Yield the findings on software, from the interpreter to the GPU's device nodes."""
    identity = identify(case.facts.get("board"))
    yield Finding("software", "python", f"{case.text('python') or 'unknown version'}, {fixes.python_of(case)}")
    yield _module(case, "numpy", "numpy", case.text("numpy"), fixes.numpy(case))
    runtime = case.spec.runtime
    version = case.text("runtimes", runtime)
    yield _module(case, runtime, runtime_record(runtime).label, version, fixes.runtime(case, identity))
    if case.wants_gpu or identity.is_jetson:
        yield from _libraries(case, identity)
        yield from _kernels(case, identity)
        yield from _driver(case)


def _module(case: Case, key: str, name: str, version: str | None, fix: str) -> Finding:
    if version is not None:
        return Finding("software", name, version)
    if case.held and case.table("there").get(key) is True:
        return Finding("software", name, "installed; not imported while the target is held", "unknown")
    if case.held:
        return Finding("software", name, f"not installed for {fixes.python_of(case)}", "bad", fix)
    why = text(case.table("why_not").get(key)) or "the reason is unknown"
    late = case.facts.get("late")
    if isinstance(late, list) and key in late and case.table("there").get(key) is True:
        fix = "run hil doctor again while nothing else uses the machine: it is installed, but its import takes too long"
    return Finding("software", name, f"cannot be imported: {why}", "bad", fix)


def _libraries(case: Case, identity: Identity) -> Iterator[Finding]:
    """Yield a finding with the version of each library.

    A missing library is a fault if the target's runtime uses the GPU. Another version than JetPack's is not a fault.
    """
    reported = versions(case.facts.get("board"))
    release = identity.release
    shipped = {} if release is None else {"cuda": release.cuda, "tensorrt": release.tensorrt, "cudnn": release.cudnn}
    for key, name in LIBRARIES.items():
        version, usual = reported[key], shipped.get(key)
        if version is not None:
            other = usual is not None and release is not None and not _same(version, usual)
            note = f" (JetPack {release.jetpack} came with {usual})" if other and release is not None else ""
            yield Finding("software", name, version + note)
        elif case.held and key != "cuda":
            yield Finding("software", name, "not queried while the target is held", "unknown")
        else:
            yield _missing(case, identity, key, name)


def _kernels(case: Case, identity: Identity) -> Iterator[Finding]:
    """Yield a finding if TensorRT's builder has no kernels for the GPU's architecture."""
    read = text(case.table("facts", case.spec.runtime).get("sm"))
    lacking = lacking_kernels(case.facts.get("board"), read or (identity.module.sm if identity.module else None))
    if lacking is None:
        return
    state: State = "warn" if lacking.replaced or not case.wants_gpu else "bad"
    fix = f"{fixes.APT} nvidia-jetpack  # installs JetPack's TensorRT; in a container, use an image for this module"
    yield Finding("software", "kernels", lacking.text, state, "" if lacking.replaced else fix)


def _missing(case: Case, identity: Identity, key: str, name: str) -> Finding:
    why = _reason(case, REASONS[key])
    if not case.wants_gpu:
        label = runtime_record(case.spec.runtime).label
        return Finding("software", name, f"not installed, and not needed by {label}")
    # The CUDA toolkit is not needed, and cuDNN only by few networks. Without libnvinfer nothing runs.
    state: State = "bad" if key == "tensorrt" else "warn"
    return Finding("software", name, f"not installed{why}", state, fixes.shared_library(identity))


def _reason(case: Case, key: str) -> str:
    """Return why a version could not be read, as ``Case.why`` does; empty if the library does not exist."""
    why = case.why(key)
    return "" if why.startswith(" (there is no ") or "No such file" in why else why


def _same(version: str, usual: str) -> bool:
    """Return whether two versions agree in the parts that both have, such as 10.3.0 and 10.3.0.30."""
    one, other = re.split(r"\.", version), re.split(r"\.", usual)
    shared = min(len(one), len(other))
    return one[:shared] == other[:shared]


def _driver(case: Case) -> Iterator[Finding]:
    closed = _closed(case)
    groups = _join_groups(case, closed)
    driver = fixes.driver(identify(case.facts.get("board")))
    answer = case.table("board", "cuinit")
    if not case.wants_gpu:
        pass
    elif case.held:
        yield Finding("software", "driver", "not queried while the target is held", "unknown")
    elif not answer:
        yield Finding("software", "driver", f"cuInit gave no result{case.why('cuinit')}", "bad", driver)
    elif answer.get("code") != 0:
        result = f"cuInit failed with {text(answer.get('error')) or answer.get('code')}"
        yield Finding("software", "driver", result, "bad", groups or "sudo reboot  # if nothing else helps")
    else:
        yield Finding("software", "driver", "cuInit succeeds")
    if closed:
        result = f"{', '.join(sorted(closed)[:3])} cannot be opened by {_user(case)}"
        yield Finding("software", "groups", result, "bad" if case.wants_gpu else "warn", groups)
    elif case.table("board").get("devices"):
        yield Finding("software", "groups", f"{_user(case)} may open the GPU's device nodes")


def _user(case: Case) -> str:
    return case.text("account", "name") or "this user"


def _closed(case: Case) -> dict[str, str | None]:
    """Return the group (``None`` if unknown) of each of the GPU's device nodes that the user cannot open, by path."""
    nodes = case.table("board").get("devices")
    listed = [node for node in nodes if table(node)] if isinstance(nodes, list) else []
    return {
        str(text(node.get("path"))): text(table(node, "group").get("name"))
        for node in listed
        if node.get("usable") is False and text(node.get("path"))
    }


def _join_groups(case: Case, closed: dict[str, str | None]) -> str:
    """Return the command that adds the user to the groups of ``closed``; empty if it has no group other than root."""
    groups = sorted({group for group in closed.values() if group and group != "root"})
    if not groups:
        return ""
    user = case.text("account", "name") or "USER"
    return f"sudo usermod -aG {shlex.quote(','.join(groups))} {shlex.quote(user)}  # takes effect at the next login"
