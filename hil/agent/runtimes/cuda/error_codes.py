"""What error codes of the CUDA driver mean, and the advice for each."""

from ...failure import ENGINE, UNSUPPORTED, Failure

OUT_OF_MEMORY = 2
STICKY = frozenset((214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 999))
"""Codes after which a context is lost: every later call in the process returns the same error.

Source: cuda.h, whose text for most of them is "the process must be terminated and relaunched". The rest are ECC and
NVLink errors, a destroyed context and unknown errors, after which nothing else can be done.
"""

SMALLER = "the GPU's memory is used up: use a smaller batch or workspace, or end other processes on the GPU"
FRESH = "the process's CUDA context is lost: load the engine again in a fresh worker"
REPORT = "look the error up in cuda.h; if it recurs, report it as a bug, with the report's log"
REACH = (
    "check that nvidia-smi (on a Jetson: deviceQuery) works on the target as this user; pass the GPU to a container "
    "(--gpus all, on a Jetson --runtime nvidia)"
)


class CudaError(Failure):
    """A failed ``call`` of the driver, with its ``code`` and the code's ``name`` (``CUDA_ERROR_ILLEGAL_ADDRESS``).

    ``sticky`` states that the CUDA context is lost.
    """

    def __init__(self, call: str, code: int, name: str, text: str) -> None:
        advice = SMALLER if code == OUT_OF_MEMORY else FRESH if code in STICKY else REPORT
        super().__init__(ENGINE, "%s failed: %s" % (call, description(code, name, text)), advice)
        self.call = call
        self.code = code
        self.name = name
        self.sticky = code in STICKY


def description(code: int, name: str, text: str) -> str:
    """Return, for example, ``CUDA_ERROR_ILLEGAL_ADDRESS (700): an illegal memory access was encountered``."""
    return "%s (%d)%s" % (name, code, ": " + text if text else "")


def unusable(what: str) -> Failure:
    """Return the failure for a machine on which CUDA cannot be used at all."""
    return Failure(UNSUPPORTED, what, REACH)
