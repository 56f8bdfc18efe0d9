"""The objects that every build needs, opened once for consecutive builds."""

import time
from typing import Any, Mapping

from ...failure import BUILD, Failure
from . import log, plugins


class OpenBuilder:
    """CUDA's context, the plugins and TensorRT's builder.

    ``seconds`` is how long the builder took to start; 0 from the second build on. All builds must be on the same GPU
    and use the same plugins.
    """

    def __init__(self, trt: Any, cuda: Any, options: Mapping[str, Any]) -> None:
        self.trt, self.cuda, self.log = trt, cuda, log.of(trt)
        self.log.clear()
        self.warnings = plugins.load(trt, self.log, options.get("paths", {}).get("plugins") or ())
        began = time.perf_counter()
        self.engine_builder = require(lambda: trt.Builder(self.log), "builder", self.log)
        self.seconds = time.perf_counter() - began

    def reset(self) -> None:
        """Prepare for the next build: set ``seconds`` to 0, since the builder has started, and empty the log."""
        self.seconds = 0.0
        self.log.clear()

    def close(self) -> None:
        """Free the builder, then the context."""
        self.engine_builder = None
        self.cuda.close()


def open_builder(trt: Any, options: Mapping[str, Any]) -> OpenBuilder:
    """Open a builder on the GPU that ``options`` names.

    Raise ``Failure`` if the GPU cannot be used, a plugin cannot be loaded, or the builder cannot be created.
    """
    from ..cuda import open_cuda

    cuda = open_cuda(int(options.get("gpu") or 0), "ctypes")  # the target's ``cuda`` setting applies to running only
    try:
        return OpenBuilder(trt, cuda, options)
    except BaseException:
        cuda.close()
        raise


def require(make: Any, what: str, journal: Any) -> Any:
    """Return the object that ``make`` creates; ``what`` names the object in messages.

    Raise ``Failure``, with TensorRT's own message, if ``make`` returns None or raises ``TypeError``.
    """
    try:
        created = make()
    except TypeError:  # pybind11 raises it if a constructor returns nothing
        created = None
    if created is None:
        reason = journal.errors() or "; ".join(journal.warnings()[-2:]) or "it gave no reason"
        raise Failure(BUILD, "TensorRT created no %s: %s" % (what, reason), "check driver and TensorRT on the target")
    return created
