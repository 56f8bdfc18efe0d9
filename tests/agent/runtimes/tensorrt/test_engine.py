"""The agent's handling of a loaded engine, on a simulated GPU (``machine``)."""

from __future__ import annotations

import weakref
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hil.agent.failure import BUILD, ENGINE, UNSUPPORTED, Failure
from hil.agent.runtimes.tensorrt import engine as engine_module
from hil.agent.runtimes.tensorrt import tensors
from hil.agent.runtimes.tensorrt.engine import TensorRtEngine
from tests.agent.runtimes.tensorrt.machine import Gpu, Log, Named, Plan, module

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    Load = Callable[..., TensorRtEngine]


@pytest.fixture
def gpu() -> Gpu:
    """A GPU with nothing allocated."""
    return Gpu()


@pytest.fixture
def load(gpu: Gpu, tmp_path: Path) -> Load:
    """Return a function that loads a plan with options."""

    def load_plan(plan: Any = None, log: Log | None = None, **options: Any) -> TensorRtEngine:
        path = tmp_path / "x.plan"
        path.write_bytes(b"plan")
        return TensorRtEngine(str(path), options, log or Log(), module(plan or Plan(gpu)), gpu)

    return load_plan


def batch(rows: int, first: float = 0.0) -> dict[str, npt.NDArray[np.float32]]:
    """Return ``rows`` rows with distinct values."""
    return {"x": first + np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)}


def plain(outputs: list[Any]) -> list[Any]:
    """Return copies of outputs, since a slot's outputs are valid only until its next run."""
    return [np.array(output) for output in outputs]


def test_a_run_makes_no_unneeded_calls(gpu: Gpu, load: Load) -> None:
    """A run is one copy in, the work between two events, one copy out and one wait."""
    bound = load().bind(batch(2))
    assert (plain(bound.run())[0] == 2 * batch(2)["x"]).all()
    gpu.calls.clear()
    bound.run()
    assert gpu.calls == ["in", "event", "work", "event", "out", "synchronize"]
    assert bound.device_seconds is not None
    assert bound.device_seconds() == 1.0


def test_shapes_are_set_only_when_they_change(load: Load) -> None:
    """Shapes are set in the context only for the first feed and after a change of shapes."""
    engine = load()
    first, second, larger = engine.bind(batch(2)), engine.bind(batch(2, 9)), engine.bind(batch(4))
    context = engine._open_slots[0].calls.context  # noqa: SLF001 - records TensorRT's calls
    for bound in (first, second, first, second):
        bound.run()
    assert context.calls == ["shape x"]
    assert plain(larger.run())[0].shape == (4, 3)
    assert (plain(second.run())[0] == 2 * batch(2, 9)["x"]).all()
    assert context.calls == ["shape x"] * 3


def test_feeds_bound_earlier_use_buffers_that_grew(load: Load) -> None:
    """A feed that was bound before the buffers grew runs with the new buffers."""
    engine = load()
    small = engine.bind(batch(1))
    small.run()
    engine.bind(batch(8)).run()
    assert (plain(small.run())[0] == 2 * batch(1)["x"]).all()


def test_a_thousand_feeds_leak_nothing(gpu: Gpu, load: Load) -> None:
    """A thousand feeds that are bound, run and closed leave no more memory allocated than one."""
    engine = load()
    counts = set()
    for at in range(1000):
        bound = engine.bind(batch(1 + at % 8))
        bound.run()
        bound.close()
        bound.close()
        counts.add(len(gpu.live))
    assert max(counts) == min(counts)
    engine.close()
    engine.close()
    assert not gpu.live
    assert not gpu.streams
    assert not gpu.open


def test_a_feed_may_outlive_its_engine(gpu: Gpu, load: Load) -> None:
    """Closing the engine also frees the feed's memory; the feed can then be closed but not run."""
    engine = load()
    bound = engine.bind(batch(1))
    bound.run()
    engine.close()
    assert not gpu.live
    with pytest.raises(Failure, match="been released"):
        bound.run()
    bound.close()
    assert not gpu.live


def test_a_released_feed_does_not_run(load: Load) -> None:
    """A released feed does not run."""
    bound = load().bind(batch(1))
    bound.run()
    bound.close()
    with pytest.raises(Failure, match="been released"):
        bound.run()


def test_an_empty_output_is_an_output(gpu: Gpu, load: Load) -> None:
    """A data-dependent output may be empty: it has its shape, and nothing is copied."""
    engine = load(Plan(gpu, dependent=True))
    outputs = plain(engine.bind({"x": -np.ones((2, 3), np.float32)}).run())
    assert outputs[1].shape == (0,)


def test_the_length_of_an_output_may_depend_on_the_data(gpu: Gpu, load: Load) -> None:
    """A data-dependent output has its own length in each run, and the method mentions its second wait."""
    engine = load(Plan(gpu, dependent=True))
    bounds = [engine.bind({"x": batch(rows)["x"] - 3}) for rows in (1, 8, 2)]
    for bound, rows in zip(bounds, (1, 8, 2), strict=True):
        x = batch(rows)["x"] - 3
        assert (plain(bound.run())[1] == x[x > 0]).all()
    assert "again" in engine.method()["sync"]
    engine.close()
    assert not gpu.live


def test_an_allocation_failure_in_tensorrt_is_reported(gpu: Gpu, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """If memory for an output cannot be allocated, the driver's failure is reported, not TensorRT's error after it."""
    engine = load(Plan(gpu, dependent=True))
    slot = engine._open_slots[0]  # noqa: SLF001 - to make one tensor's allocation fail

    def refuse_z(name: str, nbytes: int) -> Any:
        if name == "z":
            raise Failure(ENGINE, f"out of memory for {nbytes} bytes")
        return need(name, nbytes)

    need = slot.device.need
    monkeypatch.setattr(slot.device, "need", refuse_z)
    with pytest.raises(Failure, match="out of memory for 24 bytes"):
        engine.bind({"x": np.ones((2, 3), np.float32)}).run()


def test_the_graph_is_captured_once_for_each_shape(gpu: Gpu, load: Load) -> None:
    """The graph is captured after one plain run, and again after a change of shapes."""
    engine = load(cuda_graph=True)
    first, second, larger = engine.bind(batch(2)), engine.bind(batch(2, 9)), engine.bind(batch(4))
    for bound, feed in ((first, batch(2)), (second, batch(2, 9)), (first, batch(2))):
        assert (plain(bound.run())[0] == 2 * feed["x"]).all()
    assert gpu.calls.count("capture") == 1
    assert gpu.calls.index("work") < gpu.calls.index("capture")
    gpu.calls.clear()
    first.run()
    assert gpu.calls == ["in", "event", "launch", "event", "out", "synchronize"]
    assert (plain(larger.run())[0] == 2 * batch(4)["x"]).all()
    assert gpu.calls.count("capture") == gpu.calls.count("drop") == 1
    assert engine.method()["cuda_graph"] is True


def test_a_failed_capture_is_a_failure(gpu: Gpu, load: Load) -> None:
    """A run that requires a graph never runs without one."""
    gpu.capturable = False
    with pytest.raises(Failure, match="cannot be captured") as caught:
        load(cuda_graph=True).bind(batch(1)).run()
    assert "cuda_graph = false" in caught.value.advice


def test_graphs_are_refused_where_impossible(gpu: Gpu, load: Load) -> None:
    """Graphs are refused for data-dependent outputs and DLA cores."""
    with pytest.raises(Failure, match="depends on the data") as caught:
        load(Plan(gpu, dependent=True), cuda_graph=True).bind(batch(1)).run()
    assert caught.value.kind == UNSUPPORTED
    with pytest.raises(Failure, match="DLA"):
        load(cuda_graph=True, dla=0)


def test_several_are_in_flight(gpu: Gpu, load: Load) -> None:
    """Each slot has its own stream and its own outputs, and ``start`` does not wait."""
    engine = load(streams=2)
    feeds = [batch(2), batch(2, 50)]
    bounds = [engine.bind(feed, slot) for slot, feed in enumerate(feeds)]
    for bound in bounds:
        bound.run()
    gpu.calls.clear()
    for bound in bounds:
        assert bound.start is not None
        bound.start()
    assert "synchronize" not in gpu.calls
    outputs = [bound.finish()[0] for bound in bounds if bound.finish is not None]
    assert all((out == 2 * feed["x"]).all() for out, feed in zip(outputs, feeds, strict=True))
    assert len(gpu.streams) == 2


def test_a_slot_beyond_streams_is_refused(load: Load) -> None:
    """A slot number beyond ``streams`` is refused."""
    with pytest.raises(Failure, match="loaded for 1") as caught:
        load().bind(batch(1), 1)
    assert caught.value.kind == UNSUPPORTED


def test_a_second_context_without_the_profile_gets_an_engine_of_its_own(gpu: Gpu, load: Load) -> None:
    """If contexts cannot share a profile, as before TensorRT 10, a second slot gets its own copy of the engine."""
    plan = Plan(gpu, shared=False)
    engine = load(plan, streams=2)
    assert plan.deserialized == 2
    outputs = engine.bind(batch(1), 1).run()
    assert plan.deserialized == 2
    assert (outputs[0] == 2 * batch(1)["x"]).all()


def test_contexts_that_share_their_profile_share_the_engine(gpu: Gpu, load: Load) -> None:
    """If contexts can share a profile, as from TensorRT 10 on, the slots share one engine, all created at load."""
    plan = Plan(gpu)
    engine = load(plan, streams=2)
    assert (plan.contexts, len(gpu.streams)) == (2, 2), "memory is read after the load, so all must be there by then"
    engine.bind(batch(1), 1)
    assert (plan.contexts, plan.deserialized) == (2, 1)


def test_the_profile_of_layers_is_a_run_of_its_own(gpu: Gpu, load: Load) -> None:
    """Layers are profiled in a context of their own, without the warm-up, as mean seconds per run."""
    engine = load()
    costs = engine.profile(batch(2), 4)
    assert [(cost.name, cost.seconds) for cost in costs] == [("double", 0.0005)]
    assert engine._open_slots[0].calls.context.profiler is None  # noqa: SLF001 - the timed context
    assert len(gpu.streams) == 1


def test_layers_are_profiled_without_a_shared_profile(gpu: Gpu, load: Load) -> None:
    """If contexts cannot share a profile, layers are profiled on a second copy of the engine."""
    plan = Plan(gpu, shared=False)
    engine = load(plan)
    assert engine.profile(batch(2), 2)


def test_a_length_outside_the_profile_is_named(load: Load) -> None:
    """An input size outside the profile's range is refused with the input's name."""
    with pytest.raises(Failure, match="'x' has length 9 in dimension 0; the engine was built for 1 to 8"):
        load().check(batch(9))


def test_a_shape_that_tensorrt_refuses_is_a_failure(gpu: Gpu, load: Load) -> None:
    """If ``set_input_shape`` returns False, the run fails with TensorRT's own message."""
    engine = load(log=(log := Log()))
    log.text = "profile dimension mismatch"
    with pytest.raises(Failure, match=r"refused shape \[9, 3\] for input 'x'; TensorRT says: profile") as caught:
        engine.bind(batch(9)).run()
    assert caught.value.kind == ENGINE
    assert gpu.calls == []


def test_a_refused_enqueue_is_a_failure(gpu: Gpu, load: Load) -> None:
    """An enqueue that TensorRT refuses is a failure."""
    with pytest.raises(Failure, match="TensorRT refused to run"):
        load(Plan(gpu, refuse=True)).bind(batch(1)).run()


def test_a_broken_context_is_reported_by_a_refused_enqueue(gpu: Gpu, load: Load) -> None:
    """If an enqueue fails in a broken CUDA context, the driver's error is raised, not TensorRT's."""
    engine = load(Plan(gpu, refuse=True))
    bound = engine.bind(batch(1))
    gpu.fault = Failure(ENGINE, "CUDA_ERROR_ILLEGAL_ADDRESS (700)")
    with pytest.raises(Failure, match="ILLEGAL_ADDRESS"):
        bound.run()
    before = len(gpu.live)
    bound.close()
    engine.bind(batch(1))
    assert len(gpu.live) == before + 1, "memory that may still be copied from was handed out again"


def test_dynamic_dimensions_are_open_in_ports(load: Load) -> None:
    """A dynamic dimension is ``None`` in the port; the facts have the range of the profile."""
    engine = load()
    assert [(port.name, port.dtype, port.shape) for port in engine.inputs] == [("x", "float32", (None, 3))]
    assert engine.facts()["ranges"] == {"x": [[1, 3], [8, 3]]}
    assert engine.facts()["device_memory_size"] == 4096
    assert engine.executed_on() == {"kind": "gpu", "name": "Make-believe", "sm": "8.7"}
    assert engine.device_bytes() is not None


@pytest.mark.parametrize(("options", "kind"), [({}, "gpu"), ({"foreign": True}, "dla"), ({"dla": 0}, "dla")])
def test_a_foreign_engine_may_be_for_a_dla(
    load: Load, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], kind: str
) -> None:
    """The layers of a foreign engine decide whether it runs on a DLA; for an engine built here, the option does."""
    engine = load(**options)
    monkeypatch.setattr(engine, "layers", lambda: [{"device": "dla"}])
    processor = engine.executed_on()
    assert processor is not None
    assert processor["kind"] == kind


def test_a_failed_load_frees_tensorrt_s_objects_before_the_context(
    gpu: Gpu, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed load, no execution context exists any more when the CUDA context is closed."""
    contexts: list[weakref.ref[Any]] = []
    at_close: list[Any] = []

    class Watched(Plan):
        def create_execution_context(self) -> Any:
            context = super().create_execution_context()
            contexts.append(weakref.ref(context))
            return context

    def refuse(_engine: Any, context: Any, _io: str) -> Any:
        assert context is not None
        raise Failure(ENGINE, "no")

    monkeypatch.setattr(tensors, "calls", refuse)
    monkeypatch.setattr(gpu, "close", lambda: at_close.extend(reference() for reference in contexts))
    with pytest.raises(Failure, match="no"):
        load(Watched(gpu))
    assert at_close == [None]


@pytest.mark.parametrize(
    ("attribute", "value", "text"),
    [
        ("get_tensor_dtype", Named("INT4"), "'x' has type INT4"),
        ("get_tensor_format", Named("CHW32"), "laid out as CHW32"),
    ],
)
def test_tensors_that_numpy_cannot_hold_are_refused(
    gpu: Gpu, load: Load, attribute: str, value: Named, text: str
) -> None:
    """A tensor of a type that numpy cannot hold is refused."""
    plan = Plan(gpu)
    setattr(plan, attribute, lambda _: value)
    with pytest.raises(Failure, match=text) as caught:
        load(plan)
    assert caught.value.kind == UNSUPPORTED
    assert not gpu.open, "what failed to load still holds the GPU"


def test_bindings_cannot_be_forced_where_there_are_none(load: Load) -> None:
    """``io = "bindings"`` uses binding numbers, and fails the load if TensorRT has none."""
    with pytest.raises(Failure, match="no bindings interface"):
        load(io="bindings")


REFUSALS = [
    (
        "The engine plan file is not compatible with this version of TensorRT, expecting library version 8.6.0.12",
        "not written by this version",
    ),
    ("Version tag does not match. Note: Current Version: 232, Serialized Engine Version: 205", "this version"),
    (
        "The engine plan file is generated on an incompatible device, expecting compute 8.7 got compute 9.0",
        "another GPU",
    ),
    ("Serialization assertion magicTagRead == kMAGIC_TAG failed.Magic tag does not match", "damaged"),
    ("Requested amount of GPU memory (1048576 bytes) could not be allocated.", "not have enough memory"),
    ("IRuntime::deserializeCudaEngine: Error Code 2: OutOfMemory (no further information)", "not have enough memory"),
    (
        "Cannot deserialize plugin since corresponding IPluginCreator not found in Plugin Registry",
        "needs a plugin",
    ),
    ("", "damaged"),
]


@pytest.mark.parametrize(("text", "message"), REFUSALS)
def test_a_refused_engine_is_explained(text: str, message: str) -> None:
    """If TensorRT refuses an engine, the message has hil's explanation, TensorRT's own text, and advice."""
    with pytest.raises(Failure, match=message) as caught:
        engine_module._deserialize(__file__, SimpleNamespace(deserialize_cuda_engine=lambda _: None), Log(text))  # noqa: SLF001 - it loads a plan
    assert caught.value.kind == BUILD
    assert caught.value.advice
    assert text[:40] in caught.value.message


def test_an_empty_file_is_no_engine(tmp_path: Path) -> None:
    """An empty file is refused as an engine."""
    (tmp_path / "x").touch()
    with pytest.raises(Failure, match="the file is empty"):
        engine_module._deserialize(str(tmp_path / "x"), None, Log())  # noqa: SLF001 - it loads a plan


def test_a_runtime_that_does_not_start_is_reported(gpu: Gpu, tmp_path: Path) -> None:
    """If the runtime does not start, the failure quotes TensorRT's log in place of pybind11's TypeError."""

    def broken(_: Any) -> Any:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    trt = module(Plan(gpu))
    trt.Runtime = broken
    with pytest.raises(Failure, match="CUDA initialization failure with error: 35") as caught:
        TensorRtEngine(str(tmp_path), {}, Log("CUDA initialization failure with error: 35"), trt, gpu)
    assert caught.value.kind == UNSUPPORTED


def test_a_state_stays_on_the_device(gpu: Gpu, load: Load) -> None:
    """A state is copied between steps on the device; sequences may use one slot in turn, also with a CUDA graph."""
    for options in ({}, {"cuda_graph": True}):
        engine = load(**options)
        begin = batch(1, 1.0)
        one, other = (engine.recurrence({"x": "y"}, begin) for _ in range(2))
        expected = begin["x"]
        for _ in range(3):
            gpu.calls.clear()
            bound = one.bind({})
            expected = 2 * expected
            assert np.array_equal(bound.run()[0], expected)
            bound.close()
            assert (gpu.calls.count("within"), gpu.calls.count("in")) == (2, 0)
            engine.bind(batch(1, 7.0)).run()
        assert np.array_equal(other.bind({}).run()[0], 2 * begin["x"])
        one.close()
        other.close()
        engine.close()
