"""A ``tensorrt`` module without a GPU: as much as the build side asks, and what it was asked.

It stands in only where no GPU is needed: order of calls, refusals, message texts.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class BuilderFlag(enum.Enum):
    """As of 8.6."""

    FP16 = 0
    INT8 = 1
    GPU_FALLBACK = 2
    TF32 = 3


class StrongFlag(enum.Enum):
    """As of 11."""

    GPU_FALLBACK = 2
    TF32 = 3


class DataType(enum.Enum):
    """As of 8.6."""

    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT32 = 3
    FP8 = 4
    INT4 = 5


class LayerType(enum.Enum):
    """A few of them."""

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
        """Its output."""
        return self.output


class Network:
    """Has what the fake parser is told to put in."""

    def __init__(self) -> None:
        self.inputs: list[Tensor] = []
        self.layers: list[Layer] = []
        self.outputs = [Tensor("y")]

    num_inputs = property(lambda self: len(self.inputs))
    num_layers = property(lambda self: len(self.layers))
    num_outputs = property(lambda self: len(self.outputs))

    def get_output(self, index: int) -> Tensor:
        """By number."""
        return self.outputs[index]

    def get_input(self, index: int) -> Tensor:
        """By number."""
        return self.inputs[index]

    def get_layer(self, index: int) -> Layer:
        """By number."""
        return self.layers[index]


class Cache:
    """A timing cache: bytes that begin as this GPU's."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        """What ``memoryview`` takes."""
        return b"this gpu" + self.content[8:] + b"+"


class Config:
    """Records what is set."""

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
        """Sets it."""
        self.on.add(flag.name)

    def clear_flag(self, flag: enum.Enum) -> None:
        """Clears it."""
        self.on.discard(flag.name)

    def get_flag(self, flag: enum.Enum) -> bool:
        """Whether it is set."""
        return flag.name in self.on

    def set_memory_pool_limit(self, _pool: str, size: int) -> None:
        """Sets the workspace."""
        self.workspace = size

    def get_memory_pool_limit(self, _pool: str) -> int:
        """The workspace."""
        return self.workspace

    def create_timing_cache(self, content: bytes) -> Cache | None:
        """None for bytes that are no cache, as TensorRT."""
        return None if content.startswith(b"junk") else Cache(content)

    def set_timing_cache(self, cache: Cache, ignore_mismatch: bool) -> bool:
        """Refuses another GPU's cache unless it is told to ignore that."""
        if not ignore_mismatch and cache.content and not cache.content.startswith(b"this gpu"):
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> Cache | None:
        """What was set."""
        return self.cache

    def add_optimization_profile(self, profile: dict[str, Any]) -> int:
        """Its number."""
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def set_calibration_profile(self, profile: Any) -> bool:
        """Keeps it."""
        self.calibration_profile = profile
        return True

    def can_run_on_DLA(self, _layer: Layer) -> bool:  # noqa: N802 - TensorRT's name
        """The first ``dla_layers`` times."""
        self.dla_layers -= 1
        return self.dla_layers >= 0


class Profile(dict[str, Any]):
    """Shapes by input."""

    def set_shape(self, name: str, *ranges: tuple[int, ...]) -> None:
        """Keeps them."""
        self[name] = ranges


class Builder:
    """``build`` is what ``build_serialized_network`` does; the test sets it."""

    platform_has_fast_fp16 = platform_has_fast_int8 = platform_has_tf32 = True
    num_DLA_cores = 0  # noqa: N815 - TensorRT's name

    def __init__(self, trt: Trt, log: Any) -> None:
        self.trt, self.log = trt, log

    def create_network(self, _flags: int) -> Network:
        """An empty one."""
        return Network()

    def create_builder_config(self) -> Config:
        """The test looks into it afterwards."""
        return self.trt.config

    def create_optimization_profile(self) -> Profile:
        """An empty one."""
        return Profile()

    def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
        """What the test says."""
        return self.trt.build(self.log, network, config)


class Trt:
    """The module; attributes of the class are what tests change."""

    __version__ = "8.6.0"
    BuilderFlag: Any = BuilderFlag
    LayerType = LayerType
    ProfilingVerbosity = enum.Enum("ProfilingVerbosity", "DETAILED")
    DeviceType = enum.Enum("DeviceType", "GPU DLA")
    MemoryPoolType = enum.Enum("MemoryPoolType", "WORKSPACE")
    NetworkDefinitionCreationFlag = enum.IntEnum("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH", start=0)

    class ILogger:
        """Base of loggers."""

    class IInt8EntropyCalibrator2:
        """Base of calibrators."""

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
        self.says: list[tuple[int, str]] = []
        self.builder_class: type[Builder] = Builder
        self.calls: list[str] = []

    def build(self, log: Any, network: Network, config: Config) -> bytes | None:  # noqa: ARG002 - as the real one
        """Logs ``says``, lets a calibrator be asked as TensorRT does, and returns ``plan``."""
        self.calls.append("build")
        for severity, text in self.says:
            log.log(severity, text)
        asked = config.int8_calibrator
        if asked is not None and asked.read_calibration_cache() is None:
            while asked.get_batch(["x"]) is not None:
                pass
            asked.write_calibration_cache(memoryview(b"TRT-8600-EntropyCalibration2\nx: 3c009976\n"))
        return self.plan

    def Builder(self, log: Any) -> Builder:  # noqa: N802 - TensorRT's name
        """A builder."""
        return self.builder_class(self, log)

    def OnnxParser(self, network: Network, log: Any) -> Any:  # noqa: N802, ARG002 - TensorRT's name and signature
        """A parser that puts in what the test says."""
        self.calls.append("parse")
        network.inputs, network.layers, network.outputs = self.inputs, self.layers, self.outputs
        return type("Parser", (), {"parse_from_file": lambda _self, _path: True})()

    def init_libnvinfer_plugins(self, log: Any, namespace: str) -> bool:  # noqa: ARG002 - as the real one
        """Notes when."""
        self.calls.append("plugins")
        return True

    def get_plugin_registry(self) -> Any:
        """An empty one."""
        return type("Registry", (), {"plugin_creator_list": ()})()


class _Buffer:
    """Device or page-locked memory."""

    def __init__(self, nbytes: int) -> None:
        import numpy as np

        self.array = np.zeros(nbytes, np.uint8)
        self.address = self.array.ctypes.data
        self.nbytes, self.freed = nbytes, False

    def free(self) -> None:
        """Notes it."""
        self.freed = True


class Cuda:
    """Host memory in place of the device's."""

    sm = "8.7"

    def __init__(self) -> None:
        self.buffers: list[_Buffer] = []
        self.at_close: Callable[[], None] = lambda: None
        self.closed = 0

    def close(self) -> None:
        """Counts; what a test wants to look at just then, it looks at."""
        self.closed += 1
        self.at_close()

    def alloc(self, nbytes: int) -> _Buffer:
        """A buffer."""
        self.buffers.append(_Buffer(nbytes))
        return self.buffers[-1]

    pin = alloc

    def stream(self) -> Any:
        """One without effect."""
        return type("Stream", (), {"synchronize": lambda _self: None, "close": lambda _self: None})()

    def copy_in(self, device: int, host: int, nbytes: int, stream: Any) -> None:  # noqa: ARG002 - as the real one
        """At once."""
        import ctypes

        ctypes.memmove(device, host, nbytes)
