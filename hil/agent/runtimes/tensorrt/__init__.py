"""TensorRT 8.2 to 11. Differences between versions are detected by feature, never by version number."""

import contextlib
import sys
from typing import Any, Dict, Mapping, Optional

from ...failure import UNSUPPORTED, Failure, short
from ..interface import Built, Engine, Runtime
from .precision import KNOWN


class TensorRt(Runtime):
    """Builds engines (``build``) and loads them (``load``) on one GPU, ``options["gpu"]``, the first by default."""

    name = "tensorrt"
    module = "tensorrt"
    precisions = KNOWN
    uses_gpu = True
    compiles = True

    def __init__(self) -> None:
        self._module: Any = None
        self._reason: Optional[str] = None
        self._started: Any = None
        self._open_builder: Any = None

    def version(self) -> Optional[str]:
        """Return TensorRT's version (``"8.6.1"``); None if it cannot be imported (see ``reason_why``)."""
        module = self._import()
        return None if module is None else str(module.__version__)

    def reason_why(self) -> Optional[str]:
        """Return why TensorRT cannot be imported here, such as a missing native library; None if it can."""
        return self._reason if self._import() is None else None

    def facts(self) -> Dict[str, Optional[str]]:
        """Return ``cuda``, ``gpu``, ``sm``, ``sms``, ``dla`` of the first GPU.

        Return only ``reason`` if TensorRT cannot be imported or the GPU is unusable.
        """
        trt = self._import()
        if trt is None:
            return {"reason": self._reason}
        from . import facts

        return facts.of_gpu(trt)

    def reason_against(self, precision: str) -> Optional[str]:
        """Return why ``precision`` cannot work with this version or GPU, whatever the model; None if it may work."""
        trt = self._import()
        if trt is None:
            return self._refusal()
        from . import api, facts
        from . import precision as rules

        flags, sm = api.builder_flags(trt), facts.of_gpu(trt).get("sm")
        return rules.reason(precision, flags, sm, api.data_types(trt), typed=api.can_be_typed(trt))

    def build(self, model: str, precision: str, options: Mapping[str, Any], out: str) -> Built:
        """Build as ``Runtime.build`` does, and write the plan to ``out``.

        With ``options["more"]``, the builder stays open for the next build. Raise ``Failure``, with TensorRT's error
        lines and advice, if this fails.
        """
        trt = self._need()
        from . import build_engine as build
        from . import open_builder

        opened, self._open_builder = self._open_builder or open_builder.open_builder(trt, options), None
        built = build.build(opened, model, precision, options, out)
        if options.get("more"):
            self._open_builder = opened
        else:
            opened.close()
        return built

    def start(self, options: Mapping[str, Any]) -> None:
        """Open the GPU's context and TensorRT's runtime, and keep them open.

        Their memory does not count as the engine's.
        """
        trt = self._need()
        from ..cuda import open_cuda
        from . import log

        cuda = open_cuda(int(options.get("gpu") or 0), str(options.get("cuda") or "auto"))
        with contextlib.suppress(
            TypeError
        ):  # pybind11 raises it if a constructor returns nothing; ``load`` gives the reason
            self._started = cuda, trt.Runtime(log.of(trt))

    def load(self, path: str, options: Mapping[str, Any]) -> Engine:
        """Load the plugins and then the plan. Raise ``Failure`` if one cannot be loaded, such as another GPU's plan."""
        trt = self._need()
        from . import log, plugins
        from .engine import load_engine

        logger = log.of(trt)
        plugins.load(trt, logger, options.get("paths", {}).get("plugins") or ())
        return load_engine(path, options, logger, trt)

    def _import(self) -> Any:
        if self._module is None and self._reason is None:
            try:
                import tensorrt

                str(tensorrt.__version__)  # another folder of this name can be imported too, and has no version
                self._module = tensorrt
            except Exception as error:  # noqa: BLE001 - its native libraries fail in as many ways as there are boards
                self._reason = "%s: %s" % (type(error).__name__, short(error, 500))
        return self._module

    def _refusal(self) -> str:
        return "tensorrt cannot be imported by %s: %s" % (sys.executable, self._reason)

    def _need(self) -> Any:
        module = self._import()
        if module is None:
            raise Failure(UNSUPPORTED, self._refusal(), "set python to an interpreter that imports it, or install it")
        return module
