"""Twelve kinds of calibration faults, each with the check that must report it and the words of that check's reason."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

from benchmarks.int8_audit.project import EXAMPLES, Project, store_sealed, stored_models

if TYPE_CHECKING:
    from collections.abc import Callable

    from hil.config.load import Config
    from hil.results import CheckResult

Random = np.random.Generator


@dataclass(frozen=True)
class Fault:
    """``plant`` writes a project with the fault; ``named`` pairs checks with a pattern that their reason must match."""

    kind: str
    plant: Callable[[Project, Random], Config]
    named: tuple[tuple[str, str], ...]
    model: str | None = None

    def outcome(self, results: dict[str, CheckResult]) -> tuple[bool, bool]:
        """Return whether any check did not pass, and whether a check of ``named`` gave the cause."""
        bad = {check: result for check, result in results.items() if result.verdict.value != "passed"}
        matches = (check in bad and re.search(words, bad[check].reason) for check, words in self.named)
        return bool(bad), any(matches)


def _healthy_calibration(project: Project, config: Config) -> Any:
    return project.calibrated(config, project.root / "healthy")


def _other_model(project: Project, random: Random) -> Config:
    """A cache calibrated for other weights, stored under this model's key.

    The record may falsely name this model.
    """
    config = project.write()
    healthy = _healthy_calibration(project, config)
    proto = onnx.load(str(project.root / "model.onnx"))
    for tensor in proto.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.ndim > 1:
            changed = values * random.normal(1, 0.1, values.shape).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(changed.astype(np.float32), tensor.name))
    other = project.root / "other.onnx"
    onnx.save(proto, str(other))
    return _swapped(project, config, healthy, project.calibrated(config, project.root / "elsewhere", other), random)


def _other_data(project: Project, random: Random) -> Config:
    """A cache calibrated on data that has been replaced since."""
    real = dict(project.calibration)
    for name in project.inputs:
        factor = np.float32(random.uniform(0.5, 0.8))
        project.calibration[name] = (real[name] * factor).astype(real[name].dtype)
    other = project.calibrated(project.write(), project.root / "elsewhere")
    project.calibration = real
    config = project.write()
    return _swapped(project, config, _healthy_calibration(project, config), other, random)


def _swapped(project: Project, config: Config, healthy: Any, other: Any, random: Random) -> Config:
    lies = bool(random.integers(2))
    project.facts["record lies"] = lies
    store_sealed(config, healthy.key, other.path.read_bytes(), healthy.provenance if lies else other.provenance)
    return config


def _other_version(project: Project, random: Random) -> Config:
    """A cache from before an upgrade."""
    config = project.write()
    healthy = _healthy_calibration(project, config)
    part, value = [("onnxruntime", "1.10.0"), ("options", 1)][int(random.integers(2))]
    project.facts["part"] = part
    provenance = {**healthy.provenance, "parts": {**healthy.provenance["parts"], part: value}}
    store_sealed(config, healthy.key, healthy.path.read_bytes(), provenance)
    return config


def edited(project: Project, edit: Callable[[onnx.ModelProto], None]) -> Config:
    """Return the config of a project whose stored calibrated model was changed by ``edit``, and sealed again."""
    config = project.write()
    healthy = _healthy_calibration(project, config)
    proto = onnx.load(str(healthy.path))
    edit(proto)
    store_sealed(config, healthy.key, proto.SerializeToString(), healthy.provenance)
    return config


def _renamed(project: Project, random: Random) -> Config:
    """The exported model's tensors were renamed after it was calibrated."""
    prefix = str(random.choice(["/model/", "onnx::", "main_graph_"]))
    project.facts["prefix"] = prefix

    def edit(proto: onnx.ModelProto) -> None:
        fixed = {value.name for value in (*proto.graph.input, *proto.graph.output)}
        inner = {name for node in proto.graph.node for name in node.output if name} - fixed
        for node in proto.graph.node:
            node.input[:] = [prefix + name if name in inner else name for name in node.input]
            node.output[:] = [prefix + name if name in inner else name for name in node.output]
        del proto.graph.value_info[:]

    return edited(project, edit)


def _few_samples(project: Project, random: Random) -> Config:
    """Calibrate on three to five samples."""
    project.samples = int(random.integers(3, 6))
    project.facts["samples"] = project.samples
    return project.write()


def _one_class(project: Project, random: Random) -> Config:
    """Calibrate on samples of one class, with or without labels."""
    with np.load(EXAMPLES / project.model / "train.npz") as archive:
        label = int(random.integers(10))
        picked = np.flatnonzero(archive["labels"] == label)[:96]
        project.calibration = {key: archive[key][picked] for key in archive.files}
    if random.integers(2):
        del project.calibration["labels"]
    project.facts |= {"class": label, "labels": "labels" in project.calibration, "samples": len(picked)}
    return project.write()


def _prepared_otherwise(project: Project, random: Random) -> Config:
    """Preprocess differently: not divided by 255, standardized or inverted; for the arm degrees or millimetres."""
    ways: dict[str, dict[str, Callable[[Any], Any]]] = {
        "digits": {
            "times 255": lambda x: x * 255,
            "normalized": lambda x: (x - 0.13) / 0.31,
            "inverted": lambda x: 1 - x,
        },
        "arm": {"degrees": np.degrees, "millimetres": lambda x: x * 1000},
    }
    way = str(random.choice(sorted(ways[project.model])))
    name = "tool" if way == "millimetres" else project.inputs[0]
    project.facts["way"] = way
    project.calibration[name] = ways[project.model][way](project.calibration[name]).astype(np.float32)
    return project.write()


def _constant(project: Project, random: Random) -> Config:
    """Set some or all images to one value, as with black frames or a covered lens."""
    count = len(project.calibration[project.inputs[0]])
    dark = random.permutation(count)[: int(count * random.choice([0.1, 0.5, 1.0]))]
    for name in project.inputs:
        project.calibration[name] = project.calibration[name].copy()
        project.calibration[name][dark] = np.float32(random.uniform(0, 1))
    project.facts["constant"] = len(dark)
    return project.write()


def _outlier(project: Project, random: Random) -> Config:
    """Put one value of one sample far outside the rest, with a method that includes it in the range."""
    project.method = "minmax"
    name = str(random.choice(project.inputs))
    array = project.calibration[name] = project.calibration[name].copy()
    sample, times = int(random.integers(len(array))), float(random.choice([20, 50, 200, 1000]))
    flat = array.reshape(len(array), -1)
    flat[sample, int(random.integers(flat.shape[1]))] = np.abs(array).max() * times
    project.facts |= {"sample": sample, "times": times, "method": "minmax", "input": name}
    return project.write()


def _leaked(project: Project, random: Random) -> Config:
    """Put validation samples into the calibration data: unchanged, or (images) saved again with a small loss."""
    with np.load(EXAMPLES / project.model / "validation.npz") as data:
        count = int(random.integers(1, 20))
        picked = random.permutation(len(data[project.inputs[0]]))[:count]
        samples = {name: data[name][picked] for name in project.inputs}
    saved_again = project.model == "digits" and bool(random.integers(2))
    for name in project.inputs:
        array = project.calibration[name].copy()
        loss = random.normal(0, 0.01, samples[name].shape) if saved_again else 0
        array[:count] = (samples[name] + loss).astype(array.dtype)
        project.calibration[name] = array
    project.facts |= {"leaked": count, "saved again": saved_again}
    return project.write()


def _zero_scale(project: Project, random: Random) -> Config:
    """Set one scale to zero."""

    def edit(proto: onnx.ModelProto) -> None:
        used = sorted({node.input[1] for node in proto.graph.node if node.op_type == "QuantizeLinear"})
        name = str(random.choice(used))
        project.facts["scale"] = name
        tensor = next(initializer for initializer in proto.graph.initializer if initializer.name == name)
        zeros = np.zeros_like(numpy_helper.to_array(tensor))
        tensor.CopyFrom(numpy_helper.from_array(zeros, name))

    return edited(project, edit)


def _truncated(project: Project, random: Random) -> Config:
    """Truncate the stored file after, or before, its digest is recorded."""
    config = project.write()
    healthy = _healthy_calibration(project, config)
    content = healthy.path.read_bytes()
    cut = content[: int(len(content) * random.uniform(0.1, 0.95))]
    store_sealed(config, healthy.key, cut, healthy.provenance)
    project.facts["record knows"] = bool(random.integers(2))
    if not project.facts["record knows"]:
        path = stored_models(config) / f"{healthy.key}.onnx"
        store_sealed(config, healthy.key, content, healthy.provenance)
        path.write_bytes(cut)
    return config


SAME = ("int8.repeatable", "not those of this model and data")
FAULTS = (
    Fault("cache of another model", _other_model, (("int8.cache", "of another .*model"), SAME)),
    Fault("cache of another data set", _other_data, (("int8.cache", "of another .*data"), SAME)),
    Fault("cache of another version", _other_version, (("int8.cache", "of another (onnxruntime|options)"),)),
    Fault("renamed tensors", _renamed, (("int8.cache", "renamed"),)),
    Fault("4 images", _few_samples, (("int8.calibration_set", "only [345] distinct calibration samples"),)),
    Fault("one class only", _one_class, (("int8.calibration_set", "covers 1 of 10 classes"),), "digits"),
    Fault("other preprocessing", _prepared_otherwise, (("int8.calibration_set", "is preprocessed differently"),)),
    Fault("constant images", _constant, (("int8.calibration_set", "are constant"),), "digits"),
    Fault("an outlier that stretches a range", _outlier, (("int8.calibration_set", "is an outlier"),)),
    Fault("validation data in the calibration set", _leaked, (("int8.disjoint", "are in the calibration data"),)),
    Fault("a scale of zero", _zero_scale, (("int8.cache", "zero"),)),
    Fault("a truncated cache", _truncated, (("int8.cache", "damaged or incomplete"),)),
)
