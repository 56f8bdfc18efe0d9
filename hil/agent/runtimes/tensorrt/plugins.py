"""Plugin libraries of TensorRT, loaded before a model is parsed or an engine is loaded."""

import ctypes
import os
from typing import Any, List, Sequence

from ...failure import BUILD, Failure, short
from . import api


def load(trt: Any, log: Any, paths: Sequence[str]) -> List[str]:
    """Register TensorRT's own plugins and those of the libraries at ``paths``; return warnings.

    Raise ``Failure`` for a library that cannot be loaded here. Libraries are never unloaded.
    """
    trt.init_libnvinfer_plugins(log, "")
    registry = trt.get_plugin_registry()
    warnings = []
    for path in paths:
        before = api.plugin_names(registry)
        _load(registry, log, path)
        if api.plugin_names(registry) == before:
            warnings.append("the plugin library %s registered no plugin" % os.path.basename(path)[:12])
    return warnings


def _load(registry: Any, log: Any, path: str) -> None:
    try:
        library = ctypes.CDLL(os.path.abspath(path), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        what = "the plugin library %.12s cannot be loaded: %s" % (os.path.basename(path), short(error, 500))
        advice = "build it for this machine and TensorRT version, and have the libraries it needs in LD_LIBRARY_PATH"
        raise Failure(BUILD, what, advice) from None
    if api.registers_itself(registry, library) and registry.load_library(os.path.abspath(path)) is None:
        what = "TensorRT refused the plugin library %.12s: %s" % (
            os.path.basename(path),
            log.errors() or "it gave no reason",
        )
        raise Failure(BUILD, what, "build it against this TensorRT version")
