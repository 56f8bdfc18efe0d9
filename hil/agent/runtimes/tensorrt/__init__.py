"""TensorRT, every version from 8.2 to 11: asked what it has, never which version it is."""

import contextlib
import sys
from typing import Any, Dict, Mapping, Optional

from ...failure import UNSUPPORTED, Failure, short
from ..interface import Built, Engine, Runtime
from .precision import KNOWN


class TensorRt(Runtime):
    """Builds engines (``build``) and loads them (``engine``) on one GPU, ``options["gpu"]``, by default the first."""

    name = "tensorrt"
    module = "tensorrt"
    precisions = KNOWN
    uses_gpu = True
    compiles = True

    def __init__(self) -> None:
        self._module: Any = None
        self._reason: Optional[str] = None
        self._kept: Any = None
        self._shop: Any = None

    def version(self) -> Optional[str]:
        """TensorRT's own spelling (``"8.6.1"``); None where it cannot be imported, ``reason_why`` then says why."""
        module = self._import()
        return None if module is None else str(module.__version__)

    def reason_why(self) -> Optional[str]:
        """Why it cannot be imported here; None where it can. On some boards it is a library of another package."""
        return self._reason if self._import() is None else None

    def facts(self) -> Dict[str, Optional[str]]:
        """``cuda``, ``gpu``, ``sm``, ``sms``, ``dla``; of the first GPU. Where there is none, ``reason`` alone."""
        trt = self._import()
        if trt is None:
            return {"reason": self._reason}
        from . import facts

        return facts.of_gpu(trt)

    def reason_against(self, precision: str) -> Optional[str]:
        """Why the version at hand cannot do ``precision`` on this GPU whatever the model; None where it may."""
        trt = self._import()
        if trt is None:
            return self._refusal()
        from . import api, facts
        from . import precision as rules

        return rules.reason(precision, api.builder_flags(trt), facts.of_gpu(trt).get("sm"))

    def build(self, model: str, precision: str, options: Mapping[str, Any], out: str) -> Built:
        """Writes the plan to ``out``. Raises ``Failure`` with TensorRT's own error lines and what to try."""
        trt = self._need()
        from . import build_engine as build
        from . import open_builder

        shop, self._shop = self._shop or open_builder.open_workshop(trt, options), None
        built = build.build(shop, model, precision, options, out)
        if options.get("more"):
            self._shop = shop
        else:
            shop.close()
        return built

    def start(self, options: Mapping[str, Any]) -> None:
        """Opens the GPU's context and TensorRT's runtime, and keeps them, so that neither counts as the engine's."""
        trt = self._need()
        from ..cuda import open_cuda
        from . import log

        cuda = open_cuda(int(options.get("gpu") or 0), str(options.get("cuda") or "auto"))
        with contextlib.suppress(
            TypeError
        ):  # what pybind11 makes of a constructor that returned nothing; load says why
            self._kept = cuda, trt.Runtime(log.of(trt))

    def load(self, path: str, options: Mapping[str, Any]) -> Engine:
        """Loads plugins, then the plan. Raises ``Failure``, also for a plan of another version or GPU."""
        trt = self._need()
        from . import log, plugins
        from .engine import load_engine

        journal = log.of(trt)
        plugins.load(trt, journal, options.get("paths", {}).get("plugins") or ())
        return load_engine(path, options, journal, trt)

    def _import(self) -> Any:
        if self._module is None and self._reason is None:
            try:
                import tensorrt

                str(tensorrt.__version__)  # a folder of this name without the package imports too, and has none
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
