"""What TensorRT needs for any build, opened once for builds one after the other: it takes seconds, and gigabytes."""

import time
from typing import Any, Mapping

from ...failure import BUILD, Failure
from . import log, plugins


class Workshop:
    """CUDA's context, the plugins and TensorRT's builder; ``seconds`` is what the next build waits for the builder.

    Its process is of no use for anything but builds on the same GPU with the same plugins.
    """

    def __init__(self, trt: Any, cuda: Any, options: Mapping[str, Any]) -> None:
        self.trt, self.cuda, self.log = trt, cuda, log.of(trt)
        self.log.clear()
        self.warnings = plugins.load(trt, self.log, options.get("paths", {}).get("plugins") or ())
        began = time.perf_counter()
        self.engine_builder = made(lambda: trt.Builder(self.log), "builder", self.log)
        self.seconds = time.perf_counter() - began

    def built(self) -> None:
        """An engine is done: the next one did not wait for the builder, and its log is its own."""
        self.seconds = 0.0
        self.log.clear()

    def close(self) -> None:
        """Gives back the builder, then the context."""
        self.engine_builder = None
        self.cuda.close()


def open_workshop(trt: Any, options: Mapping[str, Any]) -> Workshop:
    """One on the GPU that ``options`` names. Raises ``Failure``."""
    from ..cuda import open_cuda

    cuda = open_cuda(int(options.get("gpu") or 0), "ctypes")  # the target's choice of a binding is for running
    try:
        return Workshop(trt, cuda, options)
    except BaseException:
        cuda.close()
        raise


def made(make: Any, what: str, journal: Any) -> Any:
    """What ``make`` returns. Raises ``Failure`` with TensorRT's own words where that is nothing."""
    try:
        thing = make()
    except TypeError:  # pybind11's answer to a constructor that returned nothing
        thing = None
    if thing is None:
        told = journal.errors() or "; ".join(journal.warnings()[-2:]) or "no reason told"
        raise Failure(BUILD, "TensorRT gives no %s: %s" % (what, told), "check driver and TensorRT on the target")
    return thing
