"""The way of a calibration batch to the device: one page-locked and one device buffer an input, reused."""

from typing import Any, Dict, List, Mapping

from .batches import Batches


class Sender:
    """Has the buffers; its addresses stay the same, so that a batch is overwritten by the next."""

    def __init__(self, cuda: Any, batches: Batches) -> None:
        self._cuda = cuda
        self._device: Dict[str, Any] = {}
        self._host: Dict[str, Any] = {}
        self._stream = cuda.stream()
        for name in batches.wanted:
            nbytes = max(1, batches.nbytes(name))
            self._device[name] = cuda.alloc(nbytes)
            self._host[name] = cuda.pin(nbytes)

    def send(self, batch: Mapping[str, Any], names: List[str]) -> List[int]:
        """Brings ``batch`` to the device; returns the device addresses in the order of ``names``."""
        import numpy as np

        for name, array in batch.items():
            host, device = self._host[name], self._device[name]
            host.array[: array.nbytes] = array.reshape(-1).view(np.uint8)
            self._cuda.copy_in(device.address, host.address, array.nbytes, self._stream)
        self._stream.synchronize()
        return [int(self._device[name].address) for name in names]

    def close(self) -> None:
        """Gives everything back; TensorRT must be done."""
        for buffer in list(self._device.values()) + list(self._host.values()):
            buffer.free()
        self._stream.close()
