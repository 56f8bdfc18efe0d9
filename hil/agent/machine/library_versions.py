"""What the native libraries say of themselves: cuInit's answer, TensorRT's and cuDNN's version.

Run as a process of its own (``main``), because a library may crash or hang as it is opened, and started before a
worker imports its runtimes, so that nobody waits for it. It writes a line as each question begins and one as it ends.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from typing import Any, Callable, Dict, Optional, Tuple

PATIENCE = 20.0  # seconds; the first cuInit after a boot takes several on a board
PR_SET_PDEATHSIG = 1  # linux/prctl.h
DRIVER = "libcuda.so.1"
NVINFER = tuple("libnvinfer.so.%d" % major for major in (11, 10, 9, 8, 7))
CUDNN = tuple("libcudnn.so.%d" % major for major in (9, 8, 7))
ABSENT = "cannot open shared object file"  # of glibc's dlopen, after the name of what it looked for
MOST = 1 << 16
SHORT, LONG = range(1000, 10000), range(90000, 10000000)
Answers = Tuple[Dict[str, Any], Dict[str, str]]


class NotThere(Exception):
    """The library or the function is not there; the message says which, and what the loader said."""


def _open(names: Tuple[str, ...]) -> Any:
    """The first of ``names`` that opens; the reason is that of one that is there and does not."""
    told = []
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError as error:  # noqa: PERF203 - a library that is there and lacks another must not hide the next
            told.append(str(error))
    broken = [text for text in told if not text.startswith(names)]
    broken += [text for text in told if ABSENT not in text and text not in broken]
    raise NotThere(broken[0] if broken else "there is no " + " or ".join(names))


def cuinit() -> Dict[str, Any]:
    """``{"code": 0, "error": None}``, or the driver's code and its name (``CUDA_ERROR_NO_DEVICE``)."""
    library = _open((DRIVER,))
    code = int(library.cuInit(0))
    name = ctypes.c_char_p()
    if code and hasattr(library, "cuGetErrorName"):
        library.cuGetErrorName(ctypes.c_int(code), ctypes.byref(name))
    error = (name.value or b"an error without a name").decode("utf-8", "replace")
    return {"code": code, "error": error if code else None}


def nvinfer() -> str:
    """``"10.3.0.30"`` of ``getInferLibMajorVersion`` and its like, or ``"8.2.1"`` where there is but one number."""
    return nvinfer_of(_open(NVINFER))


def nvinfer_of(library: Any) -> str:
    """The version of an opened libnvinfer. Raises ``NotThere`` where it tells none."""
    names = ["getInferLib%sVersion" % part for part in ("Major", "Minor", "Patch", "Build")]
    if all(hasattr(library, name) for name in names):
        return ".".join(str(int(getattr(library, name)())) for name in names)
    if not hasattr(library, "getInferLibVersion"):
        raise NotThere("libnvinfer has no getInferLibVersion")
    found = decoded(int(library.getInferLibVersion()))
    if found is None:
        raise NotThere("getInferLibVersion returned a number of no known layout")
    return found


def loaded() -> Optional[str]:
    """The version of the libnvinfer that this process has loaded; None where it has loaded none."""
    try:
        with open("/proc/self/maps", "rb") as file:
            paths = {line.split(None, 5)[5].strip() for line in file if b"/libnvinfer.so" in line}
        return nvinfer_of(ctypes.CDLL(min(paths).decode())) if paths else None
    except (OSError, ValueError, NotThere):
        return None


def decoded(number: int) -> Optional[str]:
    """A version by its number: 8502 is 8.5.2, 100900 is 10.9.0, and any other number tells none.

    Source: NV_TENSORRT_VERSION of NvInferVersion.h; CUDNN_VERSION of cudnn_version.h changed alike with cuDNN 9.
    """
    if number in SHORT:
        return "%d.%d.%d" % (number // 1000, number // 100 % 10, number % 100)
    if number in LONG:
        return "%d.%d.%d" % (number // 10000, number // 100 % 100, number % 100)
    return None


def cudnn() -> str:
    """The version by ``cudnnGetVersion``: 8600 is 8.6.0, 90300 is 9.3.0."""
    library = _open(CUDNN)
    library.cudnnGetVersion.restype = ctypes.c_size_t
    found = decoded(int(library.cudnnGetVersion()))
    if found is None:
        raise NotThere("cudnnGetVersion returned a number of no known layout")
    return found


QUESTIONS: Dict[str, Callable[[], Any]] = {"cuinit": cuinit, "nvinfer": nvinfer, "cudnn": cudnn}


def main(parent: int) -> None:
    """Asks every question, one line of JSON each; what was begun and not ended is what killed it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # it died before the line above took effect
    # Libraries print to descriptor 1 whatever they like; the answers go another way.
    out = os.dup(1)
    os.dup2(2, 1)
    for name, ask in QUESTIONS.items():
        _tell(out, {"begin": name})
        try:
            _tell(out, {"name": name, "value": ask()})
        except (NotThere, AttributeError, OSError, ValueError) as error:
            _tell(out, {"name": name, "why": str(error)[:500]})
    os._exit(0)  # destructors of native libraries may hang


def _tell(out: int, line: Dict[str, Any]) -> None:
    os.write(out, json.dumps(line).encode() + b"\n")


class LibraryProbe:
    """The process that asks. ``answers`` waits for it, at most until ``PATIENCE`` after it was started."""

    def __init__(self, patience: float = PATIENCE) -> None:
        folder = os.path.abspath(__file__)
        for _ in __name__.split("."):
            folder = os.path.dirname(folder)
        code = "import sys; sys.path.insert(0, %r); from %s import main; main(%d)" % (folder, __name__, os.getpid())
        null = subprocess.DEVNULL
        command = [sys.executable, "-I", "-S", "-B", "-c", code]
        self.patience = patience
        self.until = time.monotonic() + patience
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command, stdin=null, stdout=subprocess.PIPE, stderr=null
        )

    def answers(self) -> Answers:
        """``cuinit``, ``nvinfer`` and ``cudnn``, each None where it is not known, and why those are not."""
        try:
            out, _ = self.process.communicate(timeout=max(0.0, self.until - time.monotonic()))
            end = _ended(self.process.returncode)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, _ = self.process.communicate()
            end = "it did not answer within %g s" % self.patience
        return read(out[:MOST], end)


def _ended(status: int) -> str:
    return "it ended the process that asked with %s" % ("signal %d" % -status if status < 0 else "status %d" % status)


def read(out: bytes, end: str) -> Answers:
    """What the process wrote; ``end`` says how it ended, which is the answer to the question it was at."""
    found: Dict[str, Any] = dict.fromkeys(QUESTIONS)
    why: Dict[str, str] = {}
    begun = None
    for line in out.splitlines():
        try:
            told = json.loads(line.decode())
        except ValueError:
            break  # cut off in the middle
        begun = told.get("begin", begun)
        if told.get("name") in found:
            found[told["name"]], begun = told.get("value"), None
            if "why" in told:
                why[told["name"]] = told["why"]
    for name, value in found.items():
        if value is None and name not in why:
            why[name] = end if name == begun else "not asked, as the process that asks ended before (%s)" % end
    return found, why
