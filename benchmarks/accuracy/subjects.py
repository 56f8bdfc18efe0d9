"""The models that are changed: their files, their samples and the meaning of their outputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper

from benchmarks.accuracy import graphs, people
from benchmarks.accuracy.truth import a_class, boxes, region, text, vector
from tests.zoo import contents, inputs
from tests.zoo.packages import installed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from benchmarks.accuracy.truth import Truth

    Arrays = dict[str, NDArray[Any]]

_SPEECH = "silero_vad/data/silero_vad_op18_ifless.onnx"
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Part:
    """The part of ``output`` that holds scores or boxes.

    Along ``axis``, which has ``size`` elements, the part has ``count`` elements and begins at ``first``.
    """

    output: str
    axis: int
    first: int
    count: int
    size: int


@dataclass(frozen=True)
class Subject:
    """A model.

    Attributes:
        file: the ONNX file, relative to the packages' folder, or to the repository for a bundled model.
        make: returns samples for the prepared model; its arguments are the model, the number of samples and a seed.
        truth: returns a new reader of the answers.
        task: what the outputs are: classification, detection, segmentation, ctc or regression.
        size: length along which boxes and maps are shifted, in the outputs' unit.
        scores: where the scores are; ``logits`` if they are not probabilities.
        boxes: where the boxes are.
        image: the input that is an image [images, channels, height, width].
        signal: the float input that is scaled, for a model without an image.
        spared: shares of the first and of the last layers that stay in floating point in a good INT8 copy.
        tables: the keys of ``[models.M.outputs.X]`` by output, as ``hil init`` proposes them.
        prepare: changes the file's model before it becomes the reference.
    """

    file: str
    make: Callable[[onnx.ModelProto, int, int], Arrays]
    truth: Callable[[], Truth]
    task: str
    tables: Mapping[str, Mapping[str, Any]]
    size: float = 1.0
    scores: Part | None = None
    logits: bool = False
    boxes: Part | None = None
    image: str = ""
    signal: str = ""
    spared: tuple[float, float] = (0.1, 0.1)
    prepare: Callable[[onnx.ModelProto], onnx.ModelProto] = field(default=lambda model: model)

    def reference(self, packages: Path) -> onnx.ModelProto:
        """Return the model that the others are compared with, with a name for each node."""
        model = onnx.load((ROOT if self.file.startswith("examples/") else packages) / self.file)
        model = self.prepare(model)
        graphs.names_nodes(model)
        return model


def _photographs(_: onnx.ModelProto, count: int, seed: int) -> Arrays:
    return {"images": people.collages(count, 160, seed)}


def _lines(width: int, *, turned: bool) -> Callable[[onnx.ModelProto, int, int], Arrays]:
    def make(_: onnx.ModelProto, count: int, seed: int) -> Arrays:
        random = np.random.default_rng(seed)
        images = []
        for index in range(count):
            words = " ".join(random.choice(inputs.WORDS, 2, replace=False))[: width // 14]
            image = inputs.line_of_text(words, 48, width, seed + index)
            images.append(inputs.normalized(image.rotate(180 * (index % 2)) if turned else image))
        return {"x": np.stack(images)}

    return make


def _pages(size: int) -> Callable[[onnx.ModelProto, int, int], Arrays]:
    def make(_: onnx.ModelProto, count: int, seed: int) -> Arrays:
        return {"x": np.stack([inputs.normalized(inputs.page(size, size, seed + index)) for index in range(count)])}

    return make


def _files(_: onnx.ModelProto, count: int, seed: int) -> Arrays:
    made = [content for _, content in contents.files(-(-count // len(contents.KINDS)), seed)]
    return {"bytes": np.stack([contents.looked_at(content) for content in made[:count]])}


def _speech(_: onnx.ModelProto, count: int, seed: int) -> Arrays:
    """Return steps with the states of earlier steps: as many with speech as without."""
    new, earlier = 512, 64
    session, state = graphs.session(str(installed() / _SPEECH)), np.zeros((2, 1, 128), np.float32)
    rows: dict[bool, list[tuple[Any, Any]]] = {True: [], False: []}
    round_ = 0
    while min(len(part) for part in rows.values()) < (count + 1) // 2:
        for frame in inputs.frames(inputs.speech(20, seed + 10_000 * round_), new, earlier):
            score, after = session.run(None, {"input": frame[None], "state": state, "sr": np.array(inputs.RATE)})
            rows[bool(score[0, 0] > 0.5)].append((frame, state[:, 0]))
            state = after
        round_ += 1
    chosen = [pair for both in zip(rows[True], rows[False], strict=False) for pair in both][:count]
    return {"input": np.stack([one for one, _ in chosen]), "state": np.stack([one for _, one in chosen])}


def _stateless(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the speech model with a fixed rate, one output, and a state whose first axis is the samples."""
    made = graphs.copied(model)
    rest = [one for one in made.graph.input if one.name == "input"]
    del made.graph.input[:]
    made.graph.input.extend(rest)
    made.graph.input.append(helper.make_tensor_value_info("state", onnx.TensorProto.FLOAT, ["batch", 2, 128]))
    graphs.constant(made, "sr", np.array(16_000))
    for node in made.graph.node:
        graphs.rename_inputs(node, {"state": "state.turned"})
    turn = graphs.node("Transpose", ["state"], "state.turned", perm=[1, 0, 2])
    graphs.replace_nodes(made, [turn, *made.graph.node])
    del made.graph.output[1:]
    return graphs.optimized(made, "BASIC")  # puts the branch for this rate in the place of an If


def _bundled(name: str, *keys: str) -> Callable[[onnx.ModelProto, int, int], Arrays]:
    """Return a function that draws samples of the example's training data."""

    def make(_: onnx.ModelProto, count: int, seed: int) -> Arrays:
        with np.load(ROOT / "examples" / name / "train.npz") as file:
            chosen = np.random.default_rng(seed).permutation(len(file[keys[0]]))[:count]
            return {key: file[key][chosen] for key in keys}

    return make


def _scenes(_: onnx.ModelProto, count: int, seed: int) -> Arrays:
    from examples.scenes.data import scenes

    return {"image": scenes("validation", count, seed)["image"]}


_V4, _V6 = "rapidocr_onnxruntime/models", "rapidocr/models"


def _map(file: str, output: str, size: int, first: float) -> Subject:
    return Subject(
        file,
        _pages(size),
        lambda: region(output),
        "segmentation",
        {output: {"kind": "segmentation"}},
        size=size,
        spared=(first, 0.1),
        scores=Part(output, 1, 0, 1, 1),
        image="x",
    )


def _reader(file: str, output: str, characters: int, width: int) -> Subject:
    return Subject(
        file,
        _lines(width, turned=False),
        lambda: text(output),
        "ctc",
        {output: {"kind": "ctc"}},
        spared=(0.7, 0.1),
        scores=Part(output, 2, 0, characters, characters),
        image="x",
    )


_TURNED, _FILE = "save_infer_model/scale_0.tmp_1", "target_label"

SUBJECTS: Mapping[str, Subject] = {
    "digits": Subject(
        "examples/digits/model.onnx",
        _bundled("digits", "image"),
        lambda: a_class("logits"),
        "classification",
        {"logits": {"kind": "classification"}},
        scores=Part("logits", 1, 0, 10, 10),
        logits=True,
        image="image",
    ),
    "arm": Subject(
        "examples/arm/model.onnx",
        _bundled("arm", "joints", "tool"),
        vector,
        "regression",
        {"position": {"kind": "regression"}, "rotation": {"kind": "regression"}},
        signal="joints",
    ),
    "scenes": Subject(
        "examples/scenes/model.onnx",
        _scenes,
        boxes,
        "detection",
        {name: {"kind": "detection", "layout": "boxes-scores", "nms": 0.5} for name in ("boxes", "scores")},
        size=48,
        scores=Part("scores", 2, 0, 10, 10),
        boxes=Part("boxes", 2, 0, 4, 4),
        image="image",
    ),
    "320n": Subject(
        "nudenet/320n.onnx",
        _photographs,
        lambda: boxes("output0"),
        "detection",
        {"output0": {"kind": "detection", "layout": "channels-first", "boxes": "centers", "nms": 0.5}},
        size=160,
        spared=(0.5, 0.3),
        scores=Part("output0", 1, 4, 18, 22),
        boxes=Part("output0", 1, 0, 4, 22),
        image="images",
    ),
    "turned": Subject(
        f"{_V6}/ch_ppocr_mobile_v2.0_cls_mobile.onnx",
        _lines(128, turned=True),
        lambda: a_class(_TURNED),
        "classification",
        {_TURNED: {"kind": "classification"}},
        scores=Part(_TURNED, 1, 0, 2, 2),
        image="x",
    ),
    "files": Subject(
        "magika/models/standard_v3_3/model.onnx",
        _files,
        lambda: a_class(_FILE),
        "classification",
        {_FILE: {"kind": "classification"}},
        scores=Part(_FILE, 1, 0, 214, 214),
        spared=(0.0, 0.0),  # there are three layers
    ),
    "speech": Subject(
        _SPEECH,
        _speech,
        lambda: a_class("output"),
        "classification",
        {},  # one score is not a classification among classes
        scores=Part("output", 1, 0, 1, 1),
        signal="input",
        prepare=_stateless,
    ),
    "v4-map": _map(f"{_V4}/ch_PP-OCRv4_det_infer.onnx", "sigmoid_0.tmp_0", 96, 0.5),
    "v4-text": _reader(f"{_V4}/ch_PP-OCRv4_rec_infer.onnx", "softmax_11.tmp_0", 6625, 96),
    "v6-map": _map(f"{_V6}/PP-OCRv6_det_small.onnx", "fetch_name_0", 96, 0.6),
}
