"""The interface before TensorRT 8.5, on a simulated engine (``machine``): only our bookkeeping is tested."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hil.agent.failure import UNSUPPORTED, Failure
from hil.agent.runtimes.tensorrt import tensors
from hil.agent.runtimes.tensorrt.engine import TensorRtEngine
from tests.agent.runtimes.tensorrt.machine import Gpu, Log, Named, Plan, at, module


class OldPlan:
    """An engine ``y = 2 x`` as in 8.2, with two optimization profiles; bindings 2 and 3 are the second profile's."""

    num_layers = 1
    num_bindings = 4
    num_optimization_profiles = 2
    device_memory_size = 0
    has_implicit_batch_dimension = False

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self.is_shape_binding = lambda _: False

    def get_binding_name(self, number: int) -> str:
        """As in TensorRT."""
        return ["x", "y", "x [profile 1]", "y [profile 1]"][number]

    def binding_is_input(self, number: int) -> bool:
        """As in TensorRT."""
        return number % 2 == 0

    def get_binding_shape(self, number: int) -> list[int]:
        """As in TensorRT."""
        return [-1, 3 + 0 * number]

    def get_binding_format(self, number: int) -> Named:
        """As in TensorRT."""
        return Named("LINEAR" if number < 4 else "")

    def get_binding_dtype(self, number: int) -> Named:
        """As in TensorRT."""
        return Named("FLOAT" if number < 4 else "")

    def get_profile_shape(self, profile: int, number: int) -> list[list[int]]:
        """As in TensorRT."""
        assert (profile, number) == (0, 0)
        return [[1, 3], [4, 3], [8, 3]]

    def create_execution_context(self) -> Any:
        """As in TensorRT."""
        return OldContext(self.gpu)


class OldContext:
    """An execution context that records the settings that it gets, by binding number."""

    active_optimization_profile = 0

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self.shape: tuple[int, ...] = ()

    @property
    def all_binding_shapes_specified(self) -> bool:
        """Whether the input has its shape."""
        return bool(self.shape)

    def set_binding_shape(self, number: int, shape: tuple[int, ...]) -> bool:
        """Store the shape."""
        self.shape = shape if number == 0 else ()
        return number == 0

    def get_binding_shape(self, number: int) -> tuple[int, ...]:
        """Return the input's shape as the output's."""
        assert number == 1
        return self.shape

    def execute_async_v2(self, addresses: list[int], handle: int) -> bool:
        """Queue the doubling of ``x``."""
        source, to, *others = addresses
        assert others == [0, 0]
        shape = self.shape

        def work() -> None:
            at(to, shape, "float32")[...] = 2 * at(source, shape, "float32")

        self.gpu.streams[handle].put("work", work)
        return True


def load(gpu: Gpu, plan: Any, **options: Any) -> TensorRtEngine:
    """Load an engine; the file's content does not matter."""
    return TensorRtEngine(__file__, options, Log(), module(plan), gpu)


def test_an_engine_runs_by_numbers() -> None:
    """If TensorRT has no tensor names, the first profile's bindings are used, and the facts state ``bindings``."""
    gpu = Gpu()
    engine = load(gpu, OldPlan(gpu))
    assert engine.facts()["io"] == "bindings"
    assert [port.name for port in engine.inputs + engine.outputs] == ["x", "y"]
    for rows in (2, 8, 1):
        x = np.full((rows, 3), rows, np.float32)
        bound = engine.bind({"x": x})
        assert (bound.run()[0] == 2 * x).all()
        bound.close()
    engine.close()
    assert not gpu.live


def test_shape_tensors_need_names() -> None:
    """An engine with a shape tensor is unsupported if TensorRT has only binding numbers."""
    gpu = Gpu()
    plan = OldPlan(gpu)
    plan.is_shape_binding = lambda number: number == 0
    with pytest.raises(Failure, match="shape tensor") as caught:
        load(gpu, plan)
    assert caught.value.kind == UNSUPPORTED


def test_an_implicit_batch_is_refused() -> None:
    """An engine with an implicit batch dimension is refused."""
    gpu = Gpu()
    plan = OldPlan(gpu)
    plan.has_implicit_batch_dimension = True
    with pytest.raises(Failure, match="implicit batch"):
        load(gpu, plan)


def test_data_dependent_outputs_need_names() -> None:
    """An engine with data-dependent outputs is unsupported if TensorRT has only binding numbers."""
    with pytest.raises(Failure, match=r"needs TensorRT 8\.5"):
        tensors.BindingCalls(None, 1).allocate(tensors.Tensor("z", "float32", (-1,), False, False, 0), object())  # noqa: FBT003 - fields


def test_names_are_preferred_and_bindings_can_be_forced() -> None:
    """Where TensorRT has both interfaces (8.5 to 9), names are used unless ``io`` requests bindings."""

    class Both(Plan):
        num_bindings = 2

    gpu = Gpu()
    assert tensors.choose(Both(gpu), "auto") == "named"
    assert tensors.choose(Both(gpu), "bindings") == "bindings"
