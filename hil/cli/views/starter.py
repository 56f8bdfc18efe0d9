"""The text of ``hil.toml`` that ``hil init`` writes: a pure function of what is proposed for each model."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any

from hil.config.checks.cross_checks import MAX_NAME
from hil.config.explain import quoted, written
from hil.onnx_files.random_operators import REPEATABLE
from hil.proposals.families import kinds_of
from hil.text import UNSAFE, clean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from hil.onnx_files.signature import TensorSpec
    from hil.proposals.families import Recognized
    from hil.proposals.search import Proposal

HEAD = """\
# How the models are judged. All keys: docs/config.md of pytest-hil, or: hil schema
# Runs without changes:  pytest --pyargs hil.suites --target=cpu

[project]
report = "report"  # folder for report.json and report.html, relative to this file

[targets.cpu]  # this machine; exists even without this table
kind    = "local"
runtime = "onnxruntime"

# The board. Fill in its address and remove the '#', then: pytest --target=jetson-orin
# [targets.jetson-orin]
# kind       = "ssh"
# host       = "192.168.1.20"       # or an alias of ~/.ssh/config
# user       = "jetson"
# runtime    = "tensorrt"
# board      = "agx-orin-64gb"      # compared with the board's own identity
# power_mode = "MAXN"
"""

GATE = """\

# What the release pipeline requires of the report: hil gate report/report.json
[gate]
require  = ["contract.*", "parity.*"]  # add "latency.p99", "fps.*", "memory.peak", "int8.*" with their limits
evidence = "host"                      # the CPU is enough; a robot's gate requires "device"
warnings = true                        # random inputs and guesses cause warnings: set this to false with real data
"""

DATA = """\
# Random inputs only show that the model runs: a gate for a robot never accepts them.
# Put real validation data here: an .npz file with the arrays below and the ground truth as "labels",
# a folder of images with preprocess = "package.module:callable", or "package.module:callable".
"""

GUESSED = """\
# Guessed by hil init from trial runs. Check each key, then delete its entry to confirm it. Until then
# a run is warned at best, and its engines are never deployed.
"""

LIMITS = """\

# Measurements are judged against these limits; without a limit they are only recorded.
[{model}.limits]
system_memory = "98 %"  # for a desktop machine; remove this line for a board, where the default of 85 % applies
# latency     = {{ p50 = "2 ms", p99 = "5 ms" }}
# fps         = 30
# memory      = "512 MiB"

# How much INT8 may lose.
# [{model}.tolerances.int8]
# {loss} = "1 %"
# cosine    = 0.99
"""


NOT_RUN = "checks that compare with the reference are not run (unsupported)"
"""The consequence of random numbers that a model draws."""

LOSSES = {
    "detection": "map_drop",
    "segmentation": "miou_drop",
    "regression": "error_increase",
    "embedding": "retrieval_drop",
}
"""The key of the tolerance for the loss of each task's usual metric."""

KINDS = '  # or "classification", "segmentation", "detection", "ctc", "embedding", "keypoints"'
TASK_REMARK = "  # needs labelled data"
CARRY_REMARK = (
    "  # fed with this output of the step before; data then needs sequences: [sequences, steps, ...], "
    "and the gate 'sequence.*'"
)


def model_name(path: Path, used: Collection[str] = ()) -> str:
    """Return a name for ``[models.NAME]`` that is not in ``used``.

    It is the stem of ``path``, or the name of the file's folder if the stem is ``model``. Characters that are not
    allowed in a name become ``-``; a number at the end makes the name unique.
    """
    stem = path.absolute().parent.name if path.stem == "model" else path.stem
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", stem)[:MAX_NAME].strip("-._") or "model"
    number, unique = 2, name
    while unique in used:
        unique = f"{name[: MAX_NAME - len(str(number)) - 1]}-{number}"
        number += 1
    return unique


def starter(tables: Sequence[str]) -> str:
    """Return the text of a new file with the tables of its models (``model_table``)."""
    return HEAD + "".join(f"\n{table}" for table in tables) + GATE


def model_table(proposal: Proposal, path: str, name: str) -> str:
    """Return the tables of the model ``name``, as text that can be appended to any ``hil.toml``.

    ``path`` is the value of its key ``path``: the ONNX file, relative to the folder of the ``hil.toml``.
    """
    model = written(("models", name))
    text = "".join(line + "\n" for line in _lines(proposal, path, model)) + LIMITS.format(
        model=model, loss=_loss(proposal.family)
    )
    return UNSAFE.sub(lambda match: match[0] if match[0] == "\n" else _escaped(match[0]), text)


def _loss(family: Recognized | None) -> str:
    """Return the key of the tolerance for the proposed task; without a proposal, the key for a classification."""
    return LOSSES.get(dict(family.family.keys).get("task", "") if family is not None else "", "top1_drop")


def _escaped(unsafe: str) -> str:
    """Return ``unsafe``, characters inside a TOML string, as TOML escapes."""
    return "".join(f"\\U{ord(one):08x}" for one in unsafe)


def toml_value(value: Any) -> str:
    """Return a text, number, boolean or sequence in TOML notation."""
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return quoted(value) if isinstance(value, str) else repr(value)


def _lines(proposal: Proposal, path: str, model: str) -> Iterator[str]:
    signature, family = proposal.signature, proposal.family
    yield "# The model's own inputs and outputs:"
    for way, specs in (("in ", signature.inputs), ("out", signature.outputs)):
        yield from (f"#   {way}  {clean(str(spec))}" for spec in specs)
    yield f"[{model}]"
    yield f"path       = {quoted(path)}"
    yield 'precisions = ["fp32"]  # then "fp16" and, with the calibration below, "int8"'
    yield from DATA.splitlines()
    yield from (f"#   {clean(line)}" for line in _arrays(proposal))
    yield 'data       = "synthetic"'
    yield from _task(family)
    batch = signature.batch()
    if batch is not None and signature.stacked:
        yield f"batch      = {batch}  # fixed by the model"
    if proposal.drawn:
        what = clean(f"{proposal.drawn[0].upper()}{proposal.drawn[1:]}: {NOT_RUN}: {REPEATABLE}.")
        yield from textwrap.wrap(what, 110, initial_indent="# ", subsequent_indent="# ", break_long_words=False)
    if proposal.takes_batches is False:
        yield "# A trial run of 3 samples failed or differed from single runs: the model seems to take one a call."
    if proposal.guessed:
        yield from GUESSED.splitlines()
        yield f"guessed    = {toml_value([written(key) for key in proposal.guessed])}"
    yield from _inputs(proposal, model)
    if proposal.shapes:
        yield ""
        yield "# Sizes of dimensions that have one name in the file, but not one size: [min, opt, max]."
        yield f"[{model}.shapes]"
        yield from (f"{written((key,))} = {toml_value(value)}" for key, value in proposal.shapes.items())
    yield from _detection(family, model)
    yield from _outputs(proposal, model)
    yield ""
    yield "# INT8 needs calibration data: from the training set, without any of the validation data."
    yield f"# [{model}.calibration]"
    yield '# data    = "calibration.npz"'
    yield "# samples = 256"
    if family is not None and family.keep_in_float:
        yield "# Layers that often lose accuracy in INT8: exclude them if int8.drop fails."
        yield f"# exclude_nodes = {clean(toml_value(family.keep_in_float))}"


def _arrays(proposal: Proposal) -> Iterator[str]:
    for spec in proposal.signature.inputs:
        if spec.value is None:
            sizes = ", ".join("?" if size is None else str(size) for size in ("samples", *_sample(proposal, spec)))
            yield f"{quoted(spec.name)}: {spec.dtype}[{sizes}]"


def _sample(proposal: Proposal, spec: TensorSpec) -> Iterator[object]:
    sizes = proposal.signature.sizes
    return (sizes[size][1] if isinstance(size, str) and size in sizes else size for size in spec.sample)


def _task(family: Recognized | None) -> Iterator[str]:
    if family is None:
        yield '# task     = "classification"  # or "regression", or "package.module:callable" for a score of your own'
        return
    what = f"The shapes are those of a {family.family.name}{family.family.remark}."
    yield from textwrap.wrap(what, 110, initial_indent="# ", subsequent_indent="# ", break_long_words=False)
    for key, value in family.family.keys or (("task", "package.module:callable"),):
        yield f"# {key:<8} = {quoted(value)}" + (TASK_REMARK if key == "task" else "")


def _detection(family: Recognized | None, model: str) -> Iterator[str]:
    if family is None or not family.layout:
        return
    yield ""
    yield '# Needed by task and kind "detection": the layout of the boxes in the outputs.'
    yield f"# [{model}.detection]"
    done = family.layout in {"end-to-end", "efficient-nms"}
    yield f"# layout = {quoted(family.layout)}"
    yield f"# boxes  = {quoted('corners' if done or family.layout == 'boxes-scores' else 'centers')}"
    if not done:
        yield "# nms    = 0.65"


def _outputs(proposal: Proposal, model: str) -> Iterator[str]:
    """Yield, as comments, the kinds of the outputs, as far as known; if none is, the possible kinds of each output."""
    ranks = {spec.name: len(spec.shape) for spec in proposal.signature.outputs if spec.ranked}
    shapes = proposal.observed.outputs
    # A run refuses a kind that does not fit the axes that the file declares, though a trial run showed others.
    kinds = {
        name: kind
        for name, kind in kinds_of(proposal.observed, proposal.family).items()
        if ranks.get(name, len(shapes[name])) == len(shapes[name])
    }
    names = list(kinds) or [spec.name for spec in proposal.signature.outputs]
    yield ""
    yield "# What an output means: then parity.outputs compares answers, which needs no labels."
    for name in names:
        yield f"# [{model}.outputs.{clean(written((name,)))}]"
        yield f"# kind = {quoted(kinds[name])}" if kinds else f'# kind = "regression"{KINDS}'


def _inputs(proposal: Proposal, model: str) -> Iterator[str]:
    names = [spec.name for spec in proposal.signature.inputs]
    for name in names:
        own, table = proposal.inputs.get(name), f"[{model}.inputs.{written((name,))}]"
        output = proposal.carried.get(name)
        if own is not None:
            yield ""
            yield table
            values = ((key, getattr(own, key)) for key in type(own).model_fields if key in own.model_fields_set)
            yield from (f"{key} = {toml_value(value)}{_remark(key, value)}" for key, value in values)
        if output is not None:
            yield from [] if own is not None else ["", f"# {clean(table)}"]
            yield f"# carry = {clean(quoted(output))}{CARRY_REMARK}"
    if not proposal.inputs and names:
        yield ""
        yield "# The range of random inputs; default: 0 to 1, for uint8 0 to 255."
        yield f"# [{model}.ranges]"
        usual = [0, 255] if proposal.signature.inputs[0].dtype == "uint8" else [0.0, 1.0]
        yield f"# {clean(written((names[0],)))} = {toml_value(usual)}"


REMARKS = {
    "shape": "[min, opt, max] instead of a size, if it varies",
    "multiple_of": "other sizes failed",
    "range": "of random inputs",
}


def _remark(key: str, value: object) -> str:
    if value == "none":
        return "  # one tensor a call, whatever the batch"
    return f"  # {REMARKS[key]}" if key in REMARKS else ""
