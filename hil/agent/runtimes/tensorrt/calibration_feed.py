"""Calibration during one build: the calibrator, and the copying of its batches to the device."""

from typing import Any, Dict, List, Mapping

from ...failure import BUILD, UNSUPPORTED, Failure
from . import api, calibrator, profiles
from .batches import Batches, InputSpec


class Sender:
    """One page-locked and one device buffer per input; each batch overwrites the previous one."""

    def __init__(self, cuda: Any, batches: Batches) -> None:
        self._cuda = cuda
        self._device: Dict[str, Any] = {}
        self._host: Dict[str, Any] = {}
        self._stream = cuda.stream()
        for name in batches.specs:
            nbytes = max(1, batches.nbytes(name))
            self._device[name] = cuda.alloc(nbytes)
            self._host[name] = cuda.pin(nbytes)

    def send(self, batch: Mapping[str, Any], names: List[str]) -> List[int]:
        """Copy ``batch`` to the device; return the device addresses in the order of ``names``."""
        import numpy as np

        for name, array in batch.items():
            host, device = self._host[name], self._device[name]
            host.array[: array.nbytes] = array.reshape(-1).view(np.uint8)
            self._cuda.copy_in(device.address, host.address, array.nbytes, self._stream)
        self._stream.synchronize()
        return [int(self._device[name].address) for name in names]

    def close(self) -> None:
        """Free the buffers; TensorRT must have finished."""
        for buffer in list(self._device.values()) + list(self._host.values()):
            buffer.free()
        self._stream.close()


class CalibrationFeed:
    """Owns the calibrator, the batches and the buffers of one build.

    After ``start``, ``state`` (``calibrator.Calibration``) answers TensorRT's requests and has the results.
    """

    def __init__(self, trt: Any, cuda: Any, builder: Any, network: Any, config: Any) -> None:
        self._trt, self._cuda, self._builder, self._network, self._config = trt, cuda, builder, network, config

    def start(self, implicit: Mapping[str, Any], paths: Mapping[str, Any]) -> "CalibrationFeed":
        """Set the config's calibrator and, for dynamic inputs, the profile of calibration; return this object.

        ``implicit`` has ``batch``, ``samples`` and ``algorithm``; ``paths`` has ``data`` and ``calibration_cache``.
        Raise ``Failure`` if the data does not fit the network.
        """
        inputs = profiles.inputs_of(self._network)
        specs = {name: InputSpec(_dtype(self._network, name), shape) for name, shape in inputs.items()}
        batch, samples = int(implicit["batch"]), int(implicit["samples"])
        batches = Batches(paths["data"], specs, batch, samples)
        self._sender = Sender(self._cuda, batches)
        algorithm = implicit["algorithm"]
        self.state = calibrator.Calibration(algorithm, batches, paths.get("calibration_cache"), self._sender.send)
        self._calibrator = calibrator.calibrator(self._trt, self.state)  # kept, since the config holds no reference
        self._config.int8_calibrator = self._calibrator
        self._add_profile(profiles.calibration(inputs, batch, batches.shapes), inputs)
        return self

    def _add_profile(self, shapes: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
        if not shapes:
            return
        ranges = {name: [list(dims)] * 3 for name, dims in inputs.items()}
        ranges.update(shapes)
        if self._config.set_calibration_profile(profiles.make(self._builder, ranges)) is False:
            raise Failure(
                BUILD, "TensorRT refused the calibration profile %s" % dict(shapes), "check shapes in [models.M]"
            )

    def close(self) -> None:
        """Free the buffers; the builder must have finished."""
        self._sender.close()


def _dtype(network: Any, name: str) -> str:
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        if tensor.name == name:
            dtype = api.dtype_name(tensor.dtype)
            if dtype is not None:
                return dtype
            what = "input %r has type %s, which cannot be sent to the target" % (name, tensor.dtype.name)
            raise Failure(UNSUPPORTED, what, "use float32, float16 or integers for the model's inputs and outputs")
    raise Failure(BUILD, "the network has no input %r" % name, "report this as a bug, with the report's log")
