"""The deep learning accelerator (DLA) of some boards; layers that it cannot run fall back to the GPU."""

from typing import Any, Dict

from ...failure import UNSUPPORTED, Failure

ADVICE = "leave dla out of [models.M.build] for this target"


def check(cores: int, core: int, precision: str) -> None:
    """Raise ``Failure`` if a machine with ``cores`` DLA cores has no core ``core``, or if DLAs lack ``precision``."""
    if cores <= 0:
        raise Failure(UNSUPPORTED, "this machine has no DLA that TensorRT can use (num_DLA_cores is 0)", ADVICE)
    if core >= cores:
        what = "DLA core %d is requested, the machine has %d" % (core, cores)
        raise Failure(UNSUPPORTED, what, "set dla to a number below %d" % cores)
    if precision not in ("fp16", "int8"):
        raise Failure(UNSUPPORTED, "a DLA computes in fp16 and int8, not in %s" % precision, ADVICE)


def configure(trt: Any, config: Any, network: Any, core: int) -> Dict[str, int]:
    """Assign all layers to the core, with the GPU as fallback; return ``core``, ``eligible``, ``layers``.

    Raise ``Failure`` if no layer can run on the core.
    """
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = core
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    eligible = sum(1 for layer in layers if config.can_run_on_DLA(layer))
    if not eligible:
        raise Failure(UNSUPPORTED, "none of the network's %d layers can run on the DLA" % len(layers), ADVICE)
    return {"core": core, "eligible": eligible, "layers": len(layers)}
