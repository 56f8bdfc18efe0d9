"""Trial runs of the reference in a child process, bounded in time and memory, so that a crash ends only a trial."""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hil.proposals.batch_rows import Rows
from hil.proposals.trial_child import serve

if TYPE_CHECKING:
    from collections.abc import Mapping
    from multiprocessing.connection import Connection
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

    from hil.config.models import InputSpec
    from hil.onnx_files.signature import Signature

LOADING = 60.0
"""Seconds that loading a model may take."""

RUNNING = 20.0
"""Seconds that one trial run may take."""

ALL = 240.0
"""Seconds that all trials of a model may take."""


@dataclass(frozen=True)
class Trial:
    """One question: does the reference run with these declarations, and with ``batch`` samples?

    ``shapes`` has the size of each dynamic dimension, by name. With ``twice``, it also asks for an output that differs
    in a second run.
    """

    inputs: Mapping[str, InputSpec] = field(default_factory=dict)
    shapes: Mapping[str, int] = field(default_factory=dict)
    batch: int = 1
    twice: bool = False


@dataclass(frozen=True)
class Answer:
    """The shapes of the fed inputs and of the outputs if the reference ran, else the error.

    ``loaded`` is false if the model could not be loaded, ``is_large`` is true if the time or the memory was exceeded.
    """

    error: str = ""
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    outputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    loaded: bool = True
    rows: Rows = Rows.UNKNOWN  # of a run of several samples
    differs: str = ""  # an output that differs in a second run
    is_large: bool = False

    @property
    def ran(self) -> bool:
        """Whether the reference ran."""
        return not self.error

    def fits(self, signature: Signature) -> bool:
        """Return whether the outputs with the declared number of axes have the sizes that the file declares.

        If a declared size is a name, it stands for the size of the input's dimension with this name.
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
        """Start no process; the first question does."""
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

        ``declared`` has the keys ``inputs`` and ``shapes`` of ``[models.NAME]``. Return the error; empty if it loads.
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

        In both cases of an error the child is stopped, and the next question starts another one.
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
        return {"error": f"no result within {seconds:.0f} s", "is_large": True}

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
        question = json.dumps([declared, trial.batch, trial.twice])
        if question in self._ran:
            return self._ran[question]
        self.count += 1
        error = self._process.load(self._model, self._seconds(self._limits[0]), declared)
        if error:
            return Answer(error, loaded=False)
        most = self._limits[1] * (1 if trial.batch == 1 else 2 * trial.batch)  # together, and each alone
        answer = self._process.ask({**declared, "batch": trial.batch, "twice": trial.twice}, self._seconds(most))
        fed, out = ({name: tuple(one) for name, one in answer.get(key, {}).items()} for key in ("inputs", "outputs"))
        rows, differs = Rows(answer.get("rows", Rows.UNKNOWN)), str(answer.get("differs", ""))
        is_large = bool(answer.get("is_large"))
        result = Answer(str(answer.get("error", "")), fed, out, rows=rows, differs=differs, is_large=is_large)
        if result.ran:
            self._ran[question] = result
        return result

    def _seconds(self, most: float) -> float:
        return min(most, self._end - time.monotonic())
