"""One interface to an engine's inputs and outputs: by name (from TensorRT 8.5), or by number before."""

from functools import partial
from typing import Any, Callable, List, NamedTuple, Optional, Tuple

from ...failure import ENGINE, UNSUPPORTED, Failure
from ..interface import Port
from . import api

Shape = Tuple[int, ...]


class Tensor(NamedTuple):
    """An input or output; -1 in ``shape`` is set at run time, within the profile's ``low`` and ``high``.

    Shape tensors (``on_host``) are read or written in host memory. ``number`` is the number of the binding.
    """

    name: str
    dtype: str
    shape: Shape
    is_input: bool
    on_host: bool
    number: int
    low: Shape = ()
    high: Shape = ()

    @property
    def dynamic(self) -> bool:
        """Whether some dimension is set at run time."""
        return -1 in self.shape

    def port(self) -> Port:
        """Return the tensor as a ``Port``, which the rest of the agent uses."""
        return Port(self.name, self.dtype, tuple(None if dim < 0 else dim for dim in self.shape))


def has_names(engine: Any) -> bool:
    """Return whether tensors can be accessed by name (from TensorRT 8.5)."""
    return hasattr(engine, "num_io_tensors")


def has_bindings(engine: Any) -> bool:
    """Return whether tensors can be accessed by number (before TensorRT 10)."""
    return hasattr(engine, "num_bindings")


def choose(engine: Any, requested: str) -> str:
    """Return the interface to use, ``named`` or ``bindings``; for ``auto``, ``named`` if this TensorRT has it.

    Raise ``Failure`` if this TensorRT lacks the ``requested`` interface.
    """
    available = [label for label, has in (("named", has_names), ("bindings", has_bindings)) if has(engine)]
    if requested == "auto" and available:
        return available[0]
    if requested not in available:
        what = "this TensorRT has no %s interface to an engine's tensors, only %s"
        what %= requested, " and ".join(available)
        raise Failure(UNSUPPORTED, what, 'leave io at "auto"')
    return requested


def read(engine: Any, label: str) -> List[Tensor]:
    """Return all tensors in the engine's order. Raise ``Failure`` for types and layouts that are not supported."""
    if getattr(engine, "has_implicit_batch_dimension", False):
        what = "the engine has an implicit batch dimension, which is not supported"
        raise Failure(UNSUPPORTED, what, "build it from an ONNX file, with an explicit batch dimension")
    return _read_named(engine) if label == "named" else _read_bindings(engine)


def _read_named(engine: Any) -> List[Tensor]:
    tensors = []
    for number in range(engine.num_io_tensors):
        name = engine.get_tensor_name(number)
        is_input = engine.get_tensor_mode(name).name == "INPUT"
        on_host = engine.get_tensor_location(name).name == "HOST"
        shape = dims(engine.get_tensor_shape(name))
        if not on_host:
            _linear(name, engine.get_tensor_format(name))
        low = high = ()  # type: Shape
        if is_input and -1 in shape:
            low, _, high = (dims(part) for part in engine.get_tensor_profile_shape(name, 0))
        dtype = _dtype(name, engine.get_tensor_dtype(name))
        tensors.append(Tensor(name, dtype, shape, is_input, on_host, number, low, high))
    return tensors


def _read_bindings(engine: Any) -> List[Tensor]:
    tensors = []
    # Each optimization profile has its own bindings; those of the first profile come first.
    for number in range(engine.num_bindings // max(1, engine.num_optimization_profiles)):
        name = engine.get_binding_name(number)
        is_input = bool(engine.binding_is_input(number))
        if engine.is_shape_binding(number):
            what = "%r is a shape tensor, which bindings do not support" % name
            raise Failure(UNSUPPORTED, what, "use TensorRT 8.5 or later, or a model whose shapes are not inputs")
        shape = dims(engine.get_binding_shape(number))
        _linear(name, engine.get_binding_format(number))
        low = high = ()  # type: Shape
        if is_input and -1 in shape:
            low, _, high = (dims(part) for part in engine.get_profile_shape(0, number))
        dtype = _dtype(name, engine.get_binding_dtype(number))
        tensors.append(Tensor(name, dtype, shape, is_input, False, number, low, high))  # noqa: FBT003 - a field
    return tensors


def dims(trt_dims: Any) -> Shape:
    """Return TensorRT's ``Dims`` as a tuple. Raise ``Failure`` for invalid ``Dims``, which have a negative rank."""
    try:
        return tuple(int(dim) for dim in trt_dims)
    except ValueError:
        raise Failure(
            ENGINE, "TensorRT gave no valid shape for a tensor", "report this as a bug, with the report's log"
        ) from None


def _dtype(name: str, trt_dtype: Any) -> str:
    dtype = api.dtype_name(trt_dtype)
    if dtype is None:
        what = "%r has type %s, which cannot be sent to the target" % (name, trt_dtype.name)
        raise Failure(UNSUPPORTED, what, "use float32, float16 or integers for the model's inputs and outputs")
    return dtype


def _linear(name: str, tensor_format: Any) -> None:
    if tensor_format.name != "LINEAR":
        what = "%r is laid out as %s in memory; only row-major tensors are supported" % (name, tensor_format.name)
        raise Failure(UNSUPPORTED, what, "build the engine with TensorRT's default formats for inputs and outputs")


class NamedCalls:
    """One execution context accessed by tensor names."""

    def __init__(self, context: Any) -> None:
        self.context = context

    def set_shape(self, tensor: Tensor, shape: Shape) -> bool:
        """Set the shape of a dynamic input; return False if TensorRT refuses it."""
        return bool(self.context.set_input_shape(tensor.name, shape))

    def settle(self) -> List[str]:
        """Compute the outputs' shapes; return the names of inputs without a shape. Raise ``Failure`` on errors."""
        try:
            return list(self.context.infer_shapes())
        except RuntimeError as error:
            raise Failure(ENGINE, "TensorRT cannot infer shapes: %s" % error, "check the inputs' shapes") from None

    def shape_of(self, tensor: Tensor) -> Shape:
        """Return the tensor's shape for the input shapes that are set; -1 for a dimension that depends on the data."""
        return dims(self.context.get_tensor_shape(tensor.name))

    def place(self, tensor: Tensor, address: int) -> bool:
        """Set the tensor's address; return False if TensorRT refuses it."""
        return bool(self.context.set_tensor_address(tensor.name, address))

    def allocate(self, tensor: Tensor, allocator: Optional[Any]) -> bool:
        """Set the allocator of an output's memory, or remove it (None); return False if TensorRT refuses it."""
        return bool(self.context.set_output_allocator(tensor.name, allocator))

    def enqueue(self, stream: int) -> Callable[[], Any]:
        """Return a function that queues one inference on the stream handle; it returns False if TensorRT refuses."""
        return partial(self.context.execute_async_v3, stream)


class BindingCalls:
    """One execution context accessed by binding numbers; ``count`` is the number of bindings of all profiles."""

    def __init__(self, context: Any, count: int) -> None:
        self.context = context
        self.addresses = [0] * count

    def set_shape(self, tensor: Tensor, shape: Shape) -> bool:
        """As ``NamedCalls.set_shape``."""
        return bool(self.context.set_binding_shape(tensor.number, shape))

    def settle(self) -> List[str]:
        """As ``NamedCalls.settle``, but with ``a dynamic input`` for the names, which the context does not report."""
        return [] if self.context.all_binding_shapes_specified else ["a dynamic input"]

    def shape_of(self, tensor: Tensor) -> Shape:
        """As ``NamedCalls.shape_of``."""
        return dims(self.context.get_binding_shape(tensor.number))

    def place(self, tensor: Tensor, address: int) -> bool:
        """As ``NamedCalls.place``."""
        self.addresses[tensor.number] = address
        return True

    def allocate(self, tensor: Tensor, allocator: Optional[Any]) -> bool:
        """Return True if ``allocator`` is None, otherwise raise ``Failure``: bindings have no allocators."""
        if allocator is None:
            return True
        what = "the shape of output %r depends on the data, which needs TensorRT 8.5 or later" % tensor.name
        raise Failure(UNSUPPORTED, what, "use outputs whose shapes follow from the inputs' shapes")

    def enqueue(self, stream: int) -> Callable[[], Any]:
        """As ``NamedCalls.enqueue``."""
        return partial(self.context.execute_async_v2, self.addresses, stream)


def calls(engine: Any, context: Any, label: str) -> Any:
    """Return the ``NamedCalls`` or ``BindingCalls`` of a context; ``label`` is what ``choose`` returned."""
    return NamedCalls(context) if label == "named" else BindingCalls(context, engine.num_bindings)
