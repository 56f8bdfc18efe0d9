"""All that differs between TensorRT's versions, found out by asking for names; nothing else reads a version."""

from typing import Any, FrozenSet, List, Optional, Tuple

# DataType's members that cross the wire. BF16, FP8 and INT4 have no numpy dtype.
NUMPY = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "BOOL": "bool",
    "UINT8": "uint8",
    "INT64": "int64",
}
CALIBRATORS = {"entropy2": "IInt8EntropyCalibrator2", "minmax": "IInt8MinMaxCalibrator"}
UNSET_WORKSPACE = 256 << 20  # bytes, where the builder's own default is none at all, as before 8.4


def builder_flags(trt: Any) -> FrozenSet[str]:
    """Names of the ``BuilderFlag`` members there are."""
    return frozenset(trt.BuilderFlag.__members__)


def numpy_name(dtype: Any) -> Optional[str]:
    """Numpy's name of a ``DataType``, None for one numpy has not."""
    return NUMPY.get(dtype.name)


def device_memory_size(engine: Any) -> int:
    """Upper bound in bytes of what one context needs for activations, in either spelling; no weights."""
    size = getattr(engine, "device_memory_size_v2", None)
    return int(engine.device_memory_size if size is None else size)


def network(trt: Any, builder: Any) -> Any:
    """An empty network with explicit batch: asked for up to 8, without effect in 10, the only kind in 11."""
    explicit = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
    return builder.create_network(0 if explicit is None else 1 << int(explicit))


def set_workspace(trt: Any, config: Any, nbytes: Optional[int]) -> int:
    """Limits the workspace, where asked to, by either API; returns the limit in force, in bytes."""
    if hasattr(config, "set_memory_pool_limit"):
        pool = trt.MemoryPoolType.WORKSPACE
        if nbytes is not None:
            config.set_memory_pool_limit(pool, nbytes)
        return int(config.get_memory_pool_limit(pool))
    if nbytes is not None or not config.max_workspace_size:
        config.max_workspace_size = UNSET_WORKSPACE if nbytes is None else nbytes
    return int(config.max_workspace_size)


def has_fast(builder: Any, precision: str) -> bool:
    """Whether the GPU is good at fp16, int8 or tf32; True where the builder no longer tells, as 11."""
    name = "platform_has_tf32" if precision == "tf32" else "platform_has_fast_" + precision
    return bool(getattr(builder, name, True))


def calibrator_class(trt: Any, algorithm: str) -> Any:
    """The calibrator's base class; None where there is none, as in 11. ``KeyError`` for an unknown algorithm."""
    return getattr(trt, CALIBRATORS[algorithm], None)


def registers_itself(registry: Any, library: Any) -> bool:
    """Whether the registry loads libraries (8.6 on) and this one has the entry point it looks for."""
    entries = ("getCreators", "getPluginCreators")
    return hasattr(registry, "load_library") and any(hasattr(library, name) for name in entries)


def plugin_names(registry: Any) -> List[str]:
    """Names of all registered plugins, sorted."""
    listed = "all_creators" if hasattr(registry, "all_creators") else "plugin_creator_list"
    return sorted(str(creator.name) for creator in getattr(registry, listed, ()))


def error_node(error: Any) -> Tuple[Optional[int], Optional[str], Optional[str]]:
    """Index, name and operator of the node a ``ParserError`` is about; what the version does not tell is None."""
    index = int(error.node())
    name = str(error.node_name()) if hasattr(error, "node_name") else None
    operator = str(error.node_operator()) if hasattr(error, "node_operator") else None
    return (index if index >= 0 else None), name or None, operator or None


def flags_set(trt: Any, config: Any) -> List[str]:
    """Names of the builder flags that are set, sorted."""
    return sorted(name for name, flag in trt.BuilderFlag.__members__.items() if config.get_flag(flag))
