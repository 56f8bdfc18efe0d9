"""What the CUDA driver's error codes mean for whoever reads the report."""

from ...failure import ENGINE, UNSUPPORTED, Failure

OUT_OF_MEMORY = 2
STICKY = frozenset((214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 999))
"""Codes after which a context is lost: each later call in the process gives the same error.

Source: cuda.h, whose text for each of them is "the process must be terminated and relaunched" (or, for
ECC, NVLink, a destroyed context and unknown errors, leaves nothing else to do).
"""

SMALLER = "the GPU has no such memory left: use a smaller batch or workspace, or end what else runs on the GPU"
FRESH = "the process's CUDA context is lost: load the engine again in a fresh worker"
REPORT = "look the error up in cuda.h; if it comes again, report it with the report's log"
REACH = (
    "check that nvidia-smi (on a Jetson: deviceQuery) works there as this user; in a container give it the GPU "
    "(--gpus all, on a Jetson --runtime nvidia)"
)


class CudaError(Failure):
    """A driver call that failed: ``call``, ``code``, ``name`` (``CUDA_ERROR_ILLEGAL_ADDRESS``), ``sticky``."""

    def __init__(self, call: str, code: int, name: str, text: str) -> None:
        advice = SMALLER if code == OUT_OF_MEMORY else FRESH if code in STICKY else REPORT
        super().__init__(ENGINE, "%s failed: %s" % (call, described(code, name, text)), advice)
        self.call = call
        self.code = code
        self.name = name
        self.sticky = code in STICKY


def described(code: int, name: str, text: str) -> str:
    """``CUDA_ERROR_ILLEGAL_ADDRESS (700): an illegal memory access was encountered``."""
    return "%s (%d)%s" % (name, code, ": " + text if text else "")


def unusable(what: str) -> Failure:
    """CUDA cannot be used at all on this machine."""
    return Failure(UNSUPPORTED, what, REACH)
