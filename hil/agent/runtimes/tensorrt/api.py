"""Differences between versions of TensorRT, detected by the names that exist and not by version numbers."""

from typing import Any, FrozenSet, List, Optional, Tuple

# Members of DataType that can be sent to the target. TensorRT packs two elements of INT4 and FP4 into a byte.
NAMES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "BOOL": "bool",
    "UINT8": "uint8",
    "INT64": "int64",
    "BF16": "bfloat16",
    "FP8": "float8_e4m3fn",
}
CALIBRATORS = {"entropy2": "IInt8EntropyCalibrator2", "minmax": "IInt8MinMaxCalibrator"}
UNSET_WORKSPACE = 256 << 20  # bytes; used if the builder's own default is zero, as before 8.4


def builder_flags(trt: Any) -> FrozenSet[str]:
    """Return the names of the members of ``BuilderFlag``."""
    return frozenset(trt.BuilderFlag.__members__)


def dtype_name(dtype: Any) -> Optional[str]:
    """Return numpy's or ml_dtypes' name of a ``DataType``, or None if its tensors cannot be sent."""
    return NAMES.get(dtype.name)


def device_memory_size(engine: Any) -> int:
    """Return an upper bound of the bytes that one context needs for activations, without weights."""
    size = getattr(engine, "device_memory_size_v2", None)
    return int(engine.device_memory_size if size is None else size)


def data_types(trt: Any) -> FrozenSet[str]:
    """Return the names of the members of ``DataType``."""
    return frozenset(trt.DataType.__members__)


def can_be_typed(trt: Any) -> bool:
    """Return whether networks can be strongly typed: true from TensorRT 10 on; from 11 on they always are."""
    if hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        return True
    return not {"FP16", "INT8"} & builder_flags(trt)


def network(trt: Any, builder: Any, *, typed: bool = False) -> Any:
    """Return an empty network with explicit batch dimensions, strongly typed if ``typed`` is true.

    Networks of TensorRT 11 are always strongly typed.
    """
    names = ("EXPLICIT_BATCH", "STRONGLY_TYPED") if typed else ("EXPLICIT_BATCH",)
    flags = (getattr(trt.NetworkDefinitionCreationFlag, name, None) for name in names)
    return builder.create_network(sum(1 << int(flag) for flag in flags if flag is not None))


def set_workspace(trt: Any, config: Any, nbytes: Optional[int]) -> int:
    """Limit the workspace to ``nbytes``, or to a default if ``nbytes`` is None; return the limit in bytes.

    The default is TensorRT's own, or ``UNSET_WORKSPACE`` if TensorRT's is 0, as before 8.4.
    """
    if hasattr(config, "set_memory_pool_limit"):
        pool = trt.MemoryPoolType.WORKSPACE
        if nbytes is not None:
            config.set_memory_pool_limit(pool, nbytes)
        return int(config.get_memory_pool_limit(pool))
    if nbytes is not None or not config.max_workspace_size:
        config.max_workspace_size = UNSET_WORKSPACE if nbytes is None else nbytes
    return int(config.max_workspace_size)


def has_fast(builder: Any, precision: str) -> bool:
    """Return whether the GPU has fast fp16, int8 or tf32; True if the builder does not report this (TensorRT 11)."""
    name = "platform_has_tf32" if precision == "tf32" else "platform_has_fast_" + precision
    return bool(getattr(builder, name, True))


def calibrator_class(trt: Any, algorithm: str) -> Any:
    """Return the calibrator's base class; None if this TensorRT has no calibrators, as from 11 on.

    Raise ``KeyError`` for an unknown algorithm.
    """
    return getattr(trt, CALIBRATORS[algorithm], None)


def registers_itself(registry: Any, library: Any) -> bool:
    """Return whether the registry loads libraries (from 8.6) and ``library`` has an entry point for that."""
    entries = ("getCreators", "getPluginCreators")
    return hasattr(registry, "load_library") and any(hasattr(library, name) for name in entries)


def plugin_names(registry: Any) -> List[str]:
    """Return the names of all registered plugins, sorted."""
    listed = "all_creators" if hasattr(registry, "all_creators") else "plugin_creator_list"
    return sorted(str(creator.name) for creator in getattr(registry, listed, ()))


def error_node(error: Any) -> Tuple[Optional[int], Optional[str], Optional[str]]:
    """Return index, name and operator of the node that a ``ParserError`` is about; None for each that is unknown."""
    index = int(error.node())
    name = str(error.node_name()) if hasattr(error, "node_name") else None
    operator = str(error.node_operator()) if hasattr(error, "node_operator") else None
    return (index if index >= 0 else None), name or None, operator or None


def flags_set(trt: Any, config: Any) -> List[str]:
    """Return the names of the builder flags that are set, sorted."""
    return sorted(name for name, flag in trt.BuilderFlag.__members__.items() if config.get_flag(flag))
