"""Optimization profiles: the smallest, usual and largest shape of every input with a dynamic dimension."""

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ...failure import BUILD, UNSUPPORTED, Failure, short

Shape = Sequence[int]
PARTS = ("min", "opt", "max")
Names = Mapping[str, Sequence[Optional[str]]]


def inputs_of(network: Any) -> Dict[str, Tuple[int, ...]]:
    """Return the shape of each input of a parsed network, -1 if dynamic.

    Raise ``Failure`` for a shape tensor, an input whose values are shapes.
    """
    shapes = {}
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shape = tuple(int(dim) for dim in tensor.shape)
        if tensor.is_shape_tensor:
            what = "the values of input %r are other tensors' shapes, which is not supported" % tensor.name
            raise Failure(UNSUPPORTED, what, "export the model with that input as a constant")
        shapes[tensor.name] = shape
    return shapes


def fixed(network: Any, inputs: Mapping[str, Shape]) -> Dict[str, List[Shape]]:
    """Return a profile for a network with fixed inputs and a dynamic output; empty for any other network.

    TensorRT 8.6 requires this profile.
    """
    if any(-1 in shape for shape in inputs.values()):
        return {}
    outputs = [network.get_output(index).shape for index in range(network.num_outputs)]
    if not any(int(dim) < 0 for shape in outputs for dim in shape):
        return {}
    return {name: [shape] * len(PARTS) for name, shape in inputs.items()}


def check(inputs: Mapping[str, Shape], profiles: Mapping[str, Sequence[Shape]], names: Names) -> None:
    """Raise ``Failure`` if a dynamic input has no ``[min, opt, max]`` in ``profiles``, or if these do not fit an input.

    Raise ``Failure`` for a profile of an unknown input too. ``names`` has the names of each input's dimensions, for
    the message.
    """
    for name, shape in inputs.items():
        if -1 in shape and name not in profiles:
            raise _missing(name, shape, names.get(name, ()))
    for name, ranges in profiles.items():
        if name not in inputs:
            known = ", ".join(sorted(inputs))
            raise _refused("shapes are set for %r, which is not an input" % name, "the model's inputs are " + known)
        _fits(name, inputs[name], ranges)


def _missing(name: str, shape: Shape, names: Sequence[Optional[str]]) -> Failure:
    at = list(shape).index(-1)
    label = names[at] if at < len(names) else None
    dimension = "input %r has a dynamic dimension %d" % (name, at)
    if label is None:
        return _refused(dimension + " without a name", "name it in the ONNX file, then set its range in [models.M]")
    lacking = [missing_name for missing_name, dim in zip(names, shape) if dim == -1 and missing_name]
    line = ", ".join('"%s" = [1, 8, 32]' % missing_name for missing_name in dict.fromkeys(lacking))
    return _refused("%s (%r) and no range is set" % (dimension, label), "write shapes = { %s } in [models.M]" % line)


def _fits(name: str, shape: Shape, ranges: Sequence[Shape]) -> None:
    wrong = len(ranges) != len(PARTS) or any(len(part) != len(shape) for part in ranges)
    if not wrong:
        for dim, lowest, usual, highest in zip(shape, *ranges):
            wrong = wrong or not 0 < lowest <= usual <= highest or (dim != -1 and not lowest == usual == highest == dim)
    if wrong:
        what = "shapes %s do not fit input %r with shape %s" % (list(map(list, ranges)), name, list(shape))
        raise _refused(what, "set min <= opt <= max for the dynamic (-1) dimensions only")


def _refused(what: str, advice: str) -> Failure:
    return Failure(BUILD, what, advice)


def add(builder: Any, config: Any, profiles: Mapping[str, Sequence[Shape]]) -> Any:
    """Add one profile with all inputs and return it. Raise ``Failure`` if TensorRT refuses it."""
    profile = make(builder, profiles)
    if config.add_optimization_profile(profile) < 0:
        raise _refused("TensorRT refused the optimization profile %s" % dict(profiles), "check shapes in [models.M]")
    return profile


def make(builder: Any, profiles: Mapping[str, Sequence[Shape]]) -> Any:
    """Return a profile with ``[min, opt, max]`` of each input in ``profiles``; it is not part of a config yet.

    Raise ``Failure`` if TensorRT refuses a shape.
    """
    profile = builder.create_optimization_profile()
    for name, ranges in sorted(profiles.items()):
        lowest, usual, highest = (tuple(part) for part in ranges)
        try:
            profile.set_shape(name, lowest, usual, highest)
        except (RuntimeError, ValueError, TypeError) as error:
            what = "TensorRT refused the shapes of input %r: %s" % (name, short(error, 300))
            raise _refused(what, "check shapes in [models.M]") from None
    return profile


def calibration(
    inputs: Mapping[str, Shape], batch: int, samples: Mapping[str, List[int]]
) -> Dict[str, List[List[int]]]:
    """Return the profile for calibration: one shape of each dynamic input as min, opt and max.

    The shape has ``batch`` as its first length, and otherwise the lengths of the data in ``samples``.
    """
    ranges = {}
    for name, shape in inputs.items():
        if -1 in shape:
            lengths = [batch] + [int(length) for length in samples[name][1:]]
            ranges[name] = [lengths, lengths, lengths]
    return ranges
