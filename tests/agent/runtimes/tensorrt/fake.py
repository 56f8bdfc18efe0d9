"""A ``tensorrt`` module without a GPU: the names that building uses, with a record of their calls."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class BuilderFlag(enum.Enum):
    """The flags of TensorRT 8.6."""

    FP16 = 0
    INT8 = 1
    GPU_FALLBACK = 2
    TF32 = 3


class StrongFlag(enum.Enum):
    """The flags of TensorRT 11."""

    GPU_FALLBACK = 2
    TF32 = 3


class DataType(enum.Enum):
    """The element types of TensorRT 8.6, and some later ones."""

    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT32 = 3
    FP8 = 4
    INT4 = 5
    FP4 = 6


class LayerType(enum.Enum):
    """The layer types that tests need."""

    CONVOLUTION = 0
    QUANTIZE = 1
    DEQUANTIZE = 2
    CAST = 3
    CONSTANT = 4


@dataclass
class Tensor:
    """An input or output."""

    name: str = "x"
    shape: tuple[int, ...] = (2, 3)
    dtype: DataType = DataType.FLOAT
    is_shape_tensor: bool = False


@dataclass
class Layer:
    """A layer with one output."""

    type: LayerType = LayerType.CONVOLUTION
    output: Tensor = field(default_factory=Tensor)
    num_outputs = 1

    def get_output(self, _index: int) -> Tensor:
        """Return the output."""
        return self.output


class Network:
    """A network that the fake parser fills in."""

    def __init__(self) -> None:
        self.inputs: list[Tensor] = []
        self.layers: list[Layer] = []
        self.outputs = [Tensor("y")]

    num_inputs = property(lambda self: len(self.inputs))
    num_layers = property(lambda self: len(self.layers))
    num_outputs = property(lambda self: len(self.outputs))

    def get_output(self, index: int) -> Tensor:
        """Return an output by number."""
        return self.outputs[index]

    def get_input(self, index: int) -> Tensor:
        """Return an input by number."""
        return self.inputs[index]

    def get_layer(self, index: int) -> Layer:
        """Return a layer by number."""
        return self.layers[index]


class Cache:
    """A timing cache. Its bytes begin with ``this gpu`` if they were written on this GPU."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        """Return the bytes."""
        return b"this gpu" + self.content[8:] + b"+"


class Config:
    """A builder configuration that records its settings."""

    def __init__(self) -> None:
        self.on = {BuilderFlag.TF32.name}
        self.workspace = 1 << 30
        self.cache: Cache | None = None
        self.profiles: list[Any] = []
        self.calibration_profile: Any = None
        self.int8_calibrator: Any = None
        self.default_device_type = self.DLA_core = self.profiling_verbosity = None
        self.dla_layers = 1

    def set_flag(self, flag: enum.Enum) -> None:
        """Set a flag."""
        self.on.add(flag.name)

    def clear_flag(self, flag: enum.Enum) -> None:
        """Clear a flag."""
        self.on.discard(flag.name)

    def get_flag(self, flag: enum.Enum) -> bool:
        """Return whether the flag is set."""
        return flag.name in self.on

    def set_memory_pool_limit(self, _pool: str, size: int) -> None:
        """Set the workspace."""
        self.workspace = size

    def get_memory_pool_limit(self, _pool: str) -> int:
        """Return the workspace."""
        return self.workspace

    def create_timing_cache(self, content: bytes) -> Cache | None:
        """Return a timing cache; None if the bytes are not a cache, as in TensorRT."""
        return None if content.startswith(b"junk") else Cache(content)

    def set_timing_cache(self, cache: Cache, ignore_mismatch: bool) -> bool:
        """Return whether the cache is accepted: one of another GPU only with ``ignore_mismatch``."""
        if not ignore_mismatch and cache.content and not cache.content.startswith(b"this gpu"):
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> Cache | None:
        """Return the cache that was set."""
        return self.cache

    def add_optimization_profile(self, profile: dict[str, Any]) -> int:
        """Store the profile and return its index."""
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def set_calibration_profile(self, profile: Any) -> bool:
        """Store the profile."""
        self.calibration_profile = profile
        return True

    def can_run_on_DLA(self, _layer: Layer) -> bool:  # noqa: N802 - TensorRT's name
        """Return whether this is one of the first ``dla_layers`` calls."""
        self.dla_layers -= 1
        return self.dla_layers >= 0


class Profile(dict[str, Any]):
    """Shapes by input."""

    def set_shape(self, name: str, *ranges: tuple[int, ...]) -> None:
        """Store the shapes."""
        self[name] = ranges


class Builder:
    """A builder whose ``build_serialized_network`` calls ``Trt.build``, which tests replace."""

    platform_has_fast_fp16 = platform_has_fast_int8 = platform_has_tf32 = True
    num_DLA_cores = 0  # noqa: N815 - TensorRT's name

    def __init__(self, trt: Trt, log: Any) -> None:
        self.trt, self.log = trt, log

    def create_network(self, flags: int) -> Network:
        """Return an empty network."""
        self.trt.network_flags = flags
        return Network()

    def create_builder_config(self) -> Config:
        """Return the module's config, which tests inspect afterwards."""
        return self.trt.config

    def create_optimization_profile(self) -> Profile:
        """Return an empty profile."""
        return Profile()

    def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
        """Return what ``Trt.build`` returns."""
        return self.trt.build(self.log, network, config)


class Trt:
    """The module; tests change its attributes."""

    __version__ = "8.6.0"
    BuilderFlag: Any = BuilderFlag
    DataType = DataType
    LayerType = LayerType
    ProfilingVerbosity = enum.Enum("ProfilingVerbosity", "DETAILED")
    DeviceType = enum.Enum("DeviceType", "GPU DLA")
    MemoryPoolType = enum.Enum("MemoryPoolType", "WORKSPACE")
    NetworkDefinitionCreationFlag = enum.IntEnum("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH", start=0)

    class ILogger:
        """Base class of loggers."""

    class IInt8EntropyCalibrator2:
        """Base class of calibrators."""

    def __init__(
        self,
        inputs: list[Tensor] | None = None,
        layers: list[Layer] | None = None,
        outputs: list[Tensor] | None = None,
    ) -> None:
        self.config = Config()
        self.inputs = [Tensor()] if inputs is None else inputs
        self.outputs = [Tensor("y")] if outputs is None else outputs
        self.layers = [Layer()] if layers is None else layers
        self.plan: bytes | None = b"plan"
        self.messages: list[tuple[int, str]] = []
        self.builder_class: type[Builder] = Builder
        self.calls: list[str] = []
        self.network_flags = 0

    def build(self, log: Any, network: Network, config: Config) -> bytes | None:  # noqa: ARG002 - as the real one
        """Log ``messages``, call a calibrator as TensorRT does, and return ``plan``."""
        self.calls.append("build")
        for severity, text in self.messages:
            log.log(severity, text)
        calibrator = config.int8_calibrator
        if calibrator is not None and calibrator.read_calibration_cache() is None:
            while calibrator.get_batch(["x"]) is not None:
                pass
            calibrator.write_calibration_cache(memoryview(b"TRT-8600-EntropyCalibration2\nx: 3c009976\n"))
        return self.plan

    def Builder(self, log: Any) -> Builder:  # noqa: N802 - TensorRT's name
        """Return a builder."""
        return self.builder_class(self, log)

    def OnnxParser(self, network: Network, log: Any) -> Any:  # noqa: N802, ARG002 - TensorRT's name and signature
        """Return a parser that fills in this module's inputs, layers and outputs."""
        self.calls.append("parse")
        network.inputs, network.layers, network.outputs = self.inputs, self.layers, self.outputs
        return type("Parser", (), {"parse_from_file": lambda _self, _path: True})()

    def init_libnvinfer_plugins(self, log: Any, namespace: str) -> bool:  # noqa: ARG002 - as the real one
        """Record the call."""
        self.calls.append("plugins")
        return True

    def get_plugin_registry(self) -> Any:
        """Return an empty registry."""
        return type("Registry", (), {"plugin_creator_list": ()})()


class _Buffer:
    """Device or page-locked memory."""

    def __init__(self, nbytes: int) -> None:
        import numpy as np

        self.array = np.zeros(nbytes, np.uint8)
        self.address = self.array.ctypes.data
        self.nbytes, self.freed = nbytes, False

    def free(self) -> None:
        """Record the call."""
        self.freed = True


class Cuda:
    """Host memory in place of the device's."""

    sm = "8.7"

    def __init__(self) -> None:
        self.buffers: list[_Buffer] = []
        self.at_close: Callable[[], None] = lambda: None
        self.closed = 0

    def close(self) -> None:
        """Count the call, then call ``at_close``, a function that tests set."""
        self.closed += 1
        self.at_close()

    def alloc(self, nbytes: int) -> _Buffer:
        """Return a buffer."""
        self.buffers.append(_Buffer(nbytes))
        return self.buffers[-1]

    pin = alloc

    def stream(self) -> Any:
        """Return a stream without effect."""
        return type("Stream", (), {"synchronize": lambda _self: None, "close": lambda _self: None})()

    def copy_in(self, device: int, host: int, nbytes: int, stream: Any) -> None:  # noqa: ARG002 - as the real one
        """Copy at once."""
        import ctypes

        ctypes.memmove(device, host, nbytes)
