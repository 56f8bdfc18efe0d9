"""Trial runs of the reference in a child process, bounded in time and memory, so that a crash ends only a trial."""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil.errors import HilError, UserError
from hil.proposals.batch_rows import Rows, rows_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from multiprocessing.connection import Connection
    from types import TracebackType

    from typing_extensions import Self

    from hil.config.models import InputSpec
    from hil.onnx_files.signature import Signature, TensorSpec

LOADING = 60.0
"""Seconds that loading a model may take."""

RUNNING = 20.0
"""Seconds that one trial run may take."""

ALL = 240.0
"""Seconds that all trials of a model may take."""

LEAST_MEMORY = 2 * 2**30
"""Bytes: the child may use half of the machine's memory, but at least this much."""


@dataclass(frozen=True)
class Trial:
    """One question: does the reference run with these declarations, and with ``batch`` samples?

    ``shapes`` has the size of each dynamic dimension, by name.
    """

    inputs: Mapping[str, InputSpec] = field(default_factory=dict)
    shapes: Mapping[str, int] = field(default_factory=dict)
    batch: int = 1


@dataclass(frozen=True)
class Answer:
    """The shapes of the fed inputs and of the outputs if the reference ran, else the error.

    ``loaded`` is false if the model could not be loaded.
    """

    error: str = ""
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    outputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    loaded: bool = True
    rows: Rows = Rows.UNKNOWN  # of a run of several samples

    @property
    def ran(self) -> bool:
        """Whether the reference ran."""
        return not self.error

    def fits(self, signature: Signature) -> bool:
        """Return whether the outputs have the sizes that the file declares.

        A name of a size stands for the size of the input that has this name.
        """
        named = {
            size: number
            for one in signature.inputs
            for size, number in zip(one.shape, self.inputs.get(one.name, ()), strict=False)
            if isinstance(size, str)
        }
        return all(
            (named.get(size, number) if isinstance(size, str) else size) in {None, number}
            for one in signature.outputs
            if len(one.shape) == len(self.outputs.get(one.name, ()))
            for size, number in zip(one.shape, self.outputs[one.name], strict=True)
        )


class TrialProcess:
    """The child process. It starts when a question needs it, also after a crash or a time-out."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._child: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._loaded: tuple[Path, Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def load(self, model: Path, seconds: float, declared: Mapping[str, Any]) -> str:
        """Load ``model``, with the dimension names that a run with ``declared`` uses, unless it is loaded.

        ``declared`` has the keys ``inputs`` and ``shapes`` of ``[models.NAME]``. Return the error; empty without one.
        """
        names = {
            name: [size if isinstance(size, str) else None for size in one.get("shape") or ()]
            for name, one in declared["inputs"].items()
        }
        if self._loaded == (model, names):
            return ""
        self._loaded = None
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="hil-init-")
        error = str(self.ask({"load": str(model), "folder": self._folder.name, **declared}, seconds).get("error", ""))
        self._loaded = None if error else (model, names)
        return error

    def ask(self, question: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Return the answer to a question, or ``{"error": TEXT}`` if the child ends or does not answer in ``seconds``.

        Then the child is stopped; the next question starts another one.
        """
        if self._pipe is None:
            context = multiprocessing.get_context("spawn")
            self._pipe, other = context.Pipe()
            self._child = context.Process(target=serve, args=(other,), daemon=True)
            self._child.start()
            other.close()
        try:
            self._pipe.send_bytes(json.dumps(question).encode())
            if self._pipe.poll(max(0.0, seconds)):
                answer: dict[str, Any] = json.loads(self._pipe.recv_bytes())
                return answer
        except (EOFError, OSError):
            return {"error": f"the runtime crashed: the process ended {self._ended()}"}
        self.stop()
        return {"error": f"no result within {seconds:.0f} s"}

    def stop(self) -> None:
        """End the process, if there is one."""
        if self._pipe is not None:
            self._pipe.close()
        if self._child is not None:
            self._child.kill()
            self._child.join()
        if self._folder is not None:
            self._folder.cleanup()
        self._child = self._pipe = self._folder = self._loaded = None

    def _ended(self) -> str:
        """Return how the process ended by itself, as text."""
        code = None
        if self._child is not None:
            self._child.join(1)
            code = self._child.exitcode
        self.stop()
        return f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"


class Trials:
    """The trials of one model, all of them bounded in time."""

    def __init__(
        self,
        process: TrialProcess,
        model: Path,
        *,
        loading: float = LOADING,
        running: float = RUNNING,
        most: float = ALL,
    ) -> None:
        """``loading``, ``running`` and ``most`` are limits in seconds, as the constants of this module."""
        self._process, self._model = process, model
        self._limits = (loading, running)
        self._end = time.monotonic() + most
        self.count = 0
        self._ran: dict[str, Answer] = {}

    @property
    def is_over(self) -> bool:
        """Whether the time for all trials is used up."""
        return time.monotonic() >= self._end

    def run(self, trial: Trial) -> Answer:
        """Return what the reference did.

        For a model that cannot be loaded, ``loaded`` of the answer is false.

        A trial that succeeded before is not run again. Without time left, the answer is an error.
        """
        if self.is_over:
            return Answer("no time is left for trial runs")
        declared = {
            "inputs": {name: one.model_dump(mode="json", exclude_unset=True) for name, one in trial.inputs.items()},
            "shapes": {name: [size] * 3 for name, size in trial.shapes.items()},
        }
        question = json.dumps([declared, trial.batch])
        if question in self._ran:
            return self._ran[question]
        self.count += 1
        error = self._process.load(self._model, self._seconds(self._limits[0]), declared)
        if error:
            return Answer(error, loaded=False)
        most = self._limits[1] * (1 if trial.batch == 1 else 2 * trial.batch)  # together, and each alone
        answer = self._process.ask({**declared, "batch": trial.batch}, self._seconds(most))
        fed, out = ({name: tuple(one) for name, one in answer.get(key, {}).items()} for key in ("inputs", "outputs"))
        result = Answer(str(answer.get("error", "")), fed, out, rows=Rows(answer.get("rows", Rows.UNKNOWN)))
        if result.ran:
            self._ran[question] = result
        return result

    def _seconds(self, most: float) -> float:
        return min(most, self._end - time.monotonic())


def serve(pipe: Connection) -> None:
    """Answer questions until the pipe is closed. The main function of the child process."""
    _limit_memory()
    null = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):  # native libraries print there
        os.dup2(null, descriptor)
    from hil.onnx_files.external_data import openable
    from hil.onnx_files.reference import cpu_session

    path, session = Path(), None
    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            question = json.loads(pipe.recv_bytes())
            answer: dict[str, Any] = {}
            if "load" in question:
                path, session = Path(question["load"]), None
                try:
                    inputs: tuple[TensorSpec, ...] = ()
                    with suppress(UserError):  # declarations that do not fit are the trial's error
                        inputs = _declared(path, question).inputs
                    session = cpu_session(openable(path, Path(question["folder"]), inputs))
                except HilError as error:
                    answer = {"error": str(error)}
            else:
                answer = _run(path, session, question)
            pipe.send_bytes(json.dumps(answer).encode())


def _run(path: Path, session: Any, question: dict[str, Any]) -> dict[str, Any]:
    """Run the model on synthetic data with these declarations; several samples also one by one."""
    from hil.datasets.synthetic import SyntheticDataset
    from hil.onnx_files.host_run import run_on_host
    from hil.onnx_files.ort_errors import ort_error

    try:
        data = SyntheticDataset(_declared(path, question), model=path.stem, count=question["batch"], ranges={})
        feeds, several = next(data.batches(question["batch"])).feeds, question["batch"] > 1 and data.stride is None
        names = [one.name for one in session.get_outputs()]

        def run(own: Mapping[str, Any]) -> dict[str, Any]:
            return dict(zip(names, run_on_host(session, names, own), strict=True))

        try:
            outputs = run(feeds)
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors share no class of their own
            return {"error": str(ort_error(error, path, "in a trial run"))}
        rows = rows_of(run, outputs, [one.feeds for one in data.batches(1)] if several else [])
    except (HilError, MemoryError) as error:
        return {"error": str(error) or "not enough memory"}
    return {
        "rows": rows.value,
        "inputs": {name: list(array.shape) for name, array in feeds.items()},
        "outputs": {name: list(getattr(array, "shape", ())) for name, array in outputs.items()},
    }


def _declared(path: Path, question: dict[str, Any]) -> Signature:
    """Return the model's signature with the declarations of a question. Raise ``UserError`` if they do not fit it."""
    from hil.config.spec import ModelSpec
    from hil.onnx_files.declared import declared_signature

    document = {"path": str(path), "data": "synthetic", "inputs": question["inputs"], "shapes": question["shapes"]}
    return declared_signature(path, ModelSpec.model_validate_json(json.dumps(document)), path.stem)


def _limit_memory() -> None:
    """Limit the memory of this process, where the system can; write no core file."""
    try:
        import resource
    except ImportError:  # not on this system
        return
    with suppress(OSError, ValueError):
        most = max(LEAST_MEMORY, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
