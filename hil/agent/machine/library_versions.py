"""Query native libraries for their versions (TensorRT, cuDNN) and call cuInit.

This runs in a process of its own (``main``), since a library may crash or hang when it is opened.
"""

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import time
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from ..own_command import own_path

PATIENCE = 20.0  # seconds; the first cuInit after a boot takes several on a board
PR_SET_PDEATHSIG = 1  # linux/prctl.h
DRIVER = "libcuda.so.1"
NVINFER = tuple("libnvinfer.so.%d" % major for major in (11, 10, 9, 8, 7))
CUDNN = tuple("libcudnn.so.%d" % major for major in (9, 8, 7))
ABSENT = "cannot open shared object file"  # part of glibc's dlopen message, after the library's name
RESOURCE = re.compile(r"libnvinfer_builder_resource_sm(\d+)\.so")
MOST = 1 << 16
SHORT, LONG = range(1000, 10000), range(90000, 10000000)
Answers = Tuple[Dict[str, Any], Dict[str, str]]


class NotThere(Exception):
    """A library or function does not exist, or its answer is unknown; the message is the reason."""


def _open(names: Tuple[str, ...]) -> Any:
    """Open the first of the libraries ``names`` that can be opened.

    Raise ``NotThere`` if none can.

    The message is the loader's reason, if a library exists.
    """
    reasons = []
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError as error:  # noqa: PERF203 - a library that lacks a dependency must not hide the next one
            reasons.append(str(error))
    broken = [text for text in reasons if not text.startswith(names)]
    broken += [text for text in reasons if ABSENT not in text and text not in broken]
    raise NotThere(broken[0] if broken else "there is no " + " or ".join(names))


def cuinit() -> Dict[str, Any]:
    """Call cuInit. Return ``{"code": 0, "error": None}``, or its code and the code's name (``CUDA_ERROR_NO_DEVICE``).

    Raise ``NotThere`` if there is no CUDA driver.
    """
    library = _open((DRIVER,))
    code = int(library.cuInit(0))
    name = ctypes.c_char_p()
    if code and hasattr(library, "cuGetErrorName"):
        library.cuGetErrorName(ctypes.c_int(code), ctypes.byref(name))
    error = (name.value or b"an unnamed error").decode("utf-8", "replace")
    return {"code": code, "error": error if code else None}


def nvinfer() -> str:
    """Return TensorRT's version: ``"10.3.0.30"``, or ``"8.2.1"`` if the library reports only one number.

    Raise ``NotThere`` if there is no TensorRT, or it reports no version.
    """
    return nvinfer_of(_open(NVINFER))


def nvinfer_of(library: Any) -> str:
    """Return the version of an opened libnvinfer. Raise ``NotThere`` if it reports no version."""
    names = ["getInferLib%sVersion" % part for part in ("Major", "Minor", "Patch", "Build")]
    if all(hasattr(library, name) for name in names):
        return ".".join(str(int(getattr(library, name)())) for name in names)
    if not hasattr(library, "getInferLibVersion"):
        raise NotThere("libnvinfer has no getInferLibVersion")
    version = decoded(int(library.getInferLibVersion()))
    if version is None:
        raise NotThere("getInferLibVersion returned a number of unknown layout")
    return version


def loaded() -> Optional[str]:
    """Return the version of the libnvinfer that this process has loaded; None if there is none or it is unknown."""
    try:
        paths = _mapped()
        return nvinfer_of(ctypes.CDLL(min(paths).decode())) if paths else None
    except (OSError, ValueError, NotThere):
        return None


def kernels() -> List[str]:
    """Return the architectures (``"87"``) for which TensorRT's builder has kernels in files of their own.

    The list is empty for older releases, which have one file for all architectures. Raise ``NotThere`` if there is no
    TensorRT.
    """
    _open(NVINFER)
    paths = _mapped()
    folder = os.path.dirname(os.path.realpath(min(paths).decode())) if paths else ""
    matches = [RESOURCE.match(name) for name in os.listdir(folder)] if folder else []
    found = {match.group(1) for match in matches if match}
    return sorted(found, key=int)


def _mapped() -> Set[bytes]:
    """Return the paths of the libnvinfer files that this process has loaded."""
    with open("/proc/self/maps", "rb") as file:
        return {line.split(None, 5)[5].strip() for line in file if b"/libnvinfer.so" in line}


def decoded(number: int) -> Optional[str]:
    """Return the version that a number encodes: 8502 is 8.5.2, 100900 is 10.9.0; None for any other layout.

    Sources: NV_TENSORRT_VERSION in NvInferVersion.h; CUDNN_VERSION in cudnn_version.h, which uses the same layouts.
    """
    if number in SHORT:
        return "%d.%d.%d" % (number // 1000, number // 100 % 10, number % 100)
    if number in LONG:
        return "%d.%d.%d" % (number // 10000, number // 100 % 100, number % 100)
    return None


def cudnn() -> str:
    """Return cuDNN's version, such as ``"8.6.0"``. Raise ``NotThere`` if cuDNN is missing or its version unknown."""
    library = _open(CUDNN)
    library.cudnnGetVersion.restype = ctypes.c_size_t
    version = decoded(int(library.cudnnGetVersion()))
    if version is None:
        raise NotThere("cudnnGetVersion returned a number of unknown layout")
    return version


QUESTIONS: Dict[str, Callable[[], Any]] = {"cuinit": cuinit, "nvinfer": nvinfer, "cudnn": cudnn, "kernels": kernels}


def main(parent: int) -> None:
    """Write a line of JSON when a query begins and another with its answer, then end the process.

    ``parent`` is the process id of the agent; without this parent, the process ends at once.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # the parent died before the line above took effect
    # Native libraries print to descriptor 1, so the answers go through a copy of it.
    out = os.dup(1)
    os.dup2(2, 1)
    for name, ask in QUESTIONS.items():
        _write(out, {"begin": name})
        try:
            _write(out, {"name": name, "value": ask()})
        except (NotThere, AttributeError, OSError, ValueError) as error:
            _write(out, {"name": name, "why": str(error)[:500]})
    os._exit(0)  # destructors of native libraries may hang


def _write(out: int, line: Dict[str, Any]) -> None:
    os.write(out, json.dumps(line).encode() + b"\n")


class LibraryProbe:
    """A process that queries the libraries. It may run for ``patience`` seconds; then ``answers`` kills it."""

    def __init__(self, patience: float = PATIENCE) -> None:
        code = "import sys; sys.path.insert(0, %r); from %s import main; main(%d)" % (own_path(), __name__, os.getpid())
        null = subprocess.DEVNULL
        command = [sys.executable, "-I", "-S", "-B", "-c", code]
        self.patience = patience
        self.until = time.monotonic() + patience
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command, stdin=null, stdout=subprocess.PIPE, stderr=null
        )

    def answers(self) -> Answers:
        """Wait for the process. Return its answers, by the names in ``QUESTIONS``, and why some are missing.

        A missing answer is None.
        """
        try:
            out, _ = self.process.communicate(timeout=max(0.0, self.until - time.monotonic()))
            end = _ended(self.process.returncode)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, _ = self.process.communicate()
            end = "it did not answer within %g s" % self.patience
        return read(out[:MOST], end)


def _ended(status: int) -> str:
    return "it ended the probing process with %s" % ("signal %d" % -status if status < 0 else "status %d" % status)


def read(out: bytes, end: str) -> Answers:
    """Return the answers in ``out``, what the process wrote, and the reason for each missing answer.

    ``end`` states how the process ended; this is the reason for a query without an answer.
    """
    values: Dict[str, Any] = dict.fromkeys(QUESTIONS)
    why: Dict[str, str] = {}
    begun = None
    for line in out.splitlines():
        try:
            line_fields = json.loads(line.decode())
        except ValueError:
            break  # cut off in the middle
        begun = line_fields.get("begin", begun)
        if line_fields.get("name") in values:
            values[line_fields["name"]], begun = line_fields.get("value"), None
            if "why" in line_fields:
                why[line_fields["name"]] = line_fields["why"]
    for name, value in values.items():
        if value is None and name not in why:
            why[name] = end if name == begun else "not queried, as the probing process had ended before (%s)" % end
    return values, why
