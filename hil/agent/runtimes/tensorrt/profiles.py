"""Optimization profiles: the least, usual and largest shape of every input with a dynamic dimension."""

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ...failure import BUILD, UNSUPPORTED, Failure, short

Shape = Sequence[int]
PARTS = ("min", "opt", "max")
Names = Mapping[str, Sequence[Optional[str]]]


def inputs_of(network: Any) -> Dict[str, Tuple[int, ...]]:
    """Shape by input of a parsed network, -1 where dynamic. Raises ``Failure`` for an input whose values are shapes."""
    found = {}
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shape = tuple(int(dim) for dim in tensor.shape)
        if tensor.is_shape_tensor:
            what = (
                "the values of input %r are other tensors' shapes, which profiles here do not range over" % tensor.name
            )
            raise Failure(UNSUPPORTED, what, "export the model with that input as a constant")
        found[tensor.name] = shape
    return found


def fixed(network: Any, inputs: Mapping[str, Shape]) -> Dict[str, List[Shape]]:
    """A profile for inputs that have no dynamic dimension, where an output has one all the same; empty elsewhere.

    Without any profile TensorRT 8.6 builds such a network (NonZero, say) and then makes no context for it
    ("vector<bool>::_M_range_check"; seen on an H200); with this one it does.
    """
    if any(-1 in shape for shape in inputs.values()):
        return {}
    outputs = [network.get_output(index).shape for index in range(network.num_outputs)]
    if not any(int(dim) < 0 for shape in outputs for dim in shape):
        return {}
    return {name: [shape] * len(PARTS) for name, shape in inputs.items()}


def check(inputs: Mapping[str, Shape], profiles: Mapping[str, Sequence[Shape]], names: Names) -> None:
    """Raises ``Failure`` unless every dynamic input has ``[min, opt, max]`` that fits, and nothing else has one."""
    for name, shape in inputs.items():
        if -1 in shape and name not in profiles:
            raise _missing(name, shape, names.get(name, ()))
    for name, ranges in profiles.items():
        if name not in inputs:
            known = ", ".join(sorted(inputs))
            raise _refused("shapes are given for %r, which is no input" % name, "its inputs are " + known)
        _fits(name, inputs[name], ranges)


def _missing(name: str, shape: Shape, names: Sequence[Optional[str]]) -> Failure:
    at = list(shape).index(-1)
    called = names[at] if at < len(names) else None
    told = "input %r has a dynamic dimension %d" % (name, at)
    if called is None:
        return _refused(told + " without a name", "name it in the ONNX file, then give its range in [models.M]")
    lacking = [one for one, dim in zip(names, shape) if dim == -1 and one]
    line = ", ".join('"%s" = [1, 8, 32]' % one for one in dict.fromkeys(lacking))
    return _refused("%s (%r) and no range is given" % (told, called), "write shapes = { %s } in [models.M]" % line)


def _fits(name: str, shape: Shape, ranges: Sequence[Shape]) -> None:
    wrong = len(ranges) != len(PARTS) or any(len(one) != len(shape) for one in ranges)
    if not wrong:
        for dim, least, usual, most in zip(shape, *ranges):
            wrong = wrong or not 0 < least <= usual <= most or (dim != -1 and not least == usual == most == dim)
    if wrong:
        what = "shapes %s do not fit input %r with shape %s" % (list(map(list, ranges)), name, list(shape))
        raise _refused(what, "give min <= opt <= max for the dynamic (-1) dimensions alone")


def _refused(what: str, advice: str) -> Failure:
    return Failure(BUILD, what, advice)


def add(builder: Any, config: Any, profiles: Mapping[str, Sequence[Shape]]) -> Any:
    """Adds one profile with all inputs; returns it. Raises ``Failure`` if TensorRT refuses it."""
    profile = make(builder, profiles)
    if config.add_optimization_profile(profile) < 0:
        raise _refused("TensorRT refused the optimization profile %s" % dict(profiles), "check shapes in [models.M]")
    return profile


def make(builder: Any, profiles: Mapping[str, Sequence[Shape]]) -> Any:
    """A profile that is not yet part of a config."""
    profile = builder.create_optimization_profile()
    for name, ranges in sorted(profiles.items()):
        least, usual, most = (tuple(one) for one in ranges)
        try:
            profile.set_shape(name, least, usual, most)
        except (RuntimeError, ValueError, TypeError) as error:
            what = "TensorRT refused the shapes of input %r: %s" % (name, short(error, 300))
            raise _refused(what, "check shapes in [models.M]") from None
    return profile


def calibration(
    inputs: Mapping[str, Shape], batch: int, samples: Mapping[str, List[int]]
) -> Dict[str, List[List[int]]]:
    """What calibration runs with: for each dynamic input the batch, and the data's own lengths behind it."""
    found = {}
    for name, shape in inputs.items():
        if -1 in shape:
            lengths = [batch] + [int(length) for length in samples[name][1:]]
            found[name] = [lengths, lengths, lengths]
    return found
