"""A project of one bundled model with a calibration of its own, and the audit of it."""

from __future__ import annotations

import json
import os
import secrets
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.config.load import load
from hil.datasets import open_dataset
from hil.files.digests import file_digest
from hil.files.sealing import seal
from hil.onnx_files.signature import read_signature
from hil.plan import expand
from hil.quantize import Quantized, quantize
from hil.session import Request, Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from hil.config.load import Config
    from hil.results import CheckResult

    Arrays = dict[str, npt.NDArray[Any]]

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
TASKS = {"digits": "classification", "arm": "regression"}
AUDITED = (
    "int8.calibration",
    "int8.cache",
    "int8.calibration_set",
    "int8.ranges",
    "int8.repeatable",
    "int8.disjoint",
)
"""The checks of the audit that need no timing."""

CONFIG = """
[models.{model}]
path = "model.onnx"
precisions = ["fp32", "int8"]
data = "validation.npz"
task = "{task}"

[models.{model}.calibration]
data = "calibration.npz"
method = "{method}"
{samples}
"""


@dataclass
class Project:
    """A project below ``root``; ``write`` writes its files, including the arrays of ``calibration``."""

    root: Path
    model: str
    method: str
    calibration: Arrays
    samples: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def drawn(cls, root: Path, random: np.random.Generator, model: str | None = None) -> Project:
        """Return a healthy project; ``random`` decides model, method, number of samples and which training data."""
        name = model or str(random.choice(sorted(TASKS)))
        method = str(random.choice(["entropy", "minmax", "percentile"]))
        count = int(random.choice([64, 128, 192, 256]))
        with np.load(EXAMPLES / name / "train.npz") as archive:
            picked = random.permutation(len(archive[archive.files[0]]))[:count]
            calibration = {key: archive[key][picked] for key in archive.files}
        return cls(root, name, method, calibration, facts={"model": name, "method": method, "samples": count})

    @property
    def inputs(self) -> list[str]:
        """The names of the model's inputs."""
        return [key for key in self.calibration if not key.startswith("labels")]

    def write(self) -> Config:
        """Write all files of the project and return its config."""
        self.root.mkdir(parents=True, exist_ok=True)
        for file in ("model.onnx", "validation.npz"):
            copyfile(EXAMPLES / self.model / file, self.root / file)
        np.savez(self.root / "calibration.npz", **self.calibration)  # type: ignore[arg-type]  # no array is named allow_pickle
        samples = "" if self.samples is None else f"samples = {self.samples}"
        text = CONFIG.format(model=self.model, task=TASKS[self.model], method=self.method, samples=samples)
        (self.root / "hil.toml").write_text(text)
        return load(self.root / "hil.toml")

    def calibrated(self, config: Config, folder: Path, model: Path | None = None) -> Quantized:
        """Calibrate the project's model, or ``model`` if it is passed; return the result, stored in ``folder``."""
        path = model or self.root / "model.onnx"
        spec = config.spec.models[self.model]
        assert spec.calibration is not None  # noqa: S101 - written above; for the type checker
        data = open_dataset(
            spec.calibration.data,
            config=config,
            model=self.model,
            signature=read_signature(path),
            preprocess=None,
            ranges={},
            where="benchmark",
        )
        return quantize(path, folder, data, spec.calibration)


def stored_models(config: Config) -> Path:
    """Return the folder in which a session of ``config`` looks for calibrated models."""
    return Path(config.resolve(config.spec.project.cache)) / "quantized"


def store_sealed(config: Config, key: str, content: bytes, provenance: dict[str, Any]) -> None:
    """Store a calibrated model under ``key``, with a record of its digest, sealed as a session seals it."""
    folder = stored_models(config)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{key}.onnx"
    path.write_bytes(content)
    record = {**provenance, "key": key, "digest": file_digest(path), "seal": None}
    with own_cache(config.root / "cache"):
        record["seal"] = seal(record)
    (folder / f"{key}.json").write_text(json.dumps(record))


def audit(config: Config, model: str, root: Path) -> dict[str, CheckResult]:
    """Return the result of each check of the audit, from a session that uses nothing stored outside of ``root``."""
    with own_cache(root / "cache"):
        request = Request(config, "cpu", "fail", 0.0, secrets.token_hex(8), root / "report", progress=lambda _: None)
        rows = {row.id: row for row in expand(config, "cpu").rows if row.precision == "int8" and row.model == model}
        with closing(Session.open(request)) as session:
            return {check: session.judge(rows[check]).result for check in AUDITED}


@contextmanager
def own_cache(folder: Path) -> Iterator[None]:
    """Use ``folder`` as the user's cache within the context, so that runs do not share files."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["XDG_CACHE_HOME"]
        else:
            os.environ["XDG_CACHE_HOME"] = before
