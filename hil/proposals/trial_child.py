"""The child process of trial runs: loads a model, runs it on synthetic data, and answers with shapes or the error."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil.errors import HilError, UserError
from hil.proposals.batch_rows import rows_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from multiprocessing.connection import Connection

    from hil.onnx_files.signature import Signature, TensorSpec

LEAST_MEMORY = 2 * 2**30
"""Bytes: the child may use half of the machine's memory, but at least this much."""

NO_MEMORY = ("bad_alloc", "Failed to allocate memory", "Available memory")
"""Texts in ONNX Runtime's errors if there is not enough memory."""


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
    from hil.onnx_files.random_operators import output_that_differs

    try:
        data = SyntheticDataset(_declared(path, question), model=path.stem, count=question["batch"], ranges={})
        feeds, several = next(data.batches(question["batch"])).feeds, question["batch"] > 1 and data.stride is None
        names = [one.name for one in session.get_outputs()]

        def run(own: Mapping[str, Any]) -> dict[str, Any]:
            return dict(zip(names, run_on_host(session, names, own), strict=True))

        try:
            outputs = run(feeds)
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors share no class of their own
            is_large = any(words in str(error) for words in NO_MEMORY)
            return {"error": str(ort_error(error, path, "in a trial run")), "is_large": is_large}
        rows = rows_of(run, outputs, [one.feeds for one in data.batches(1)] if several else [])
        twice = partial(run_on_host, session, names, feeds)
        differs = output_that_differs(twice, names) if question["twice"] else ""
    except HilError as error:
        return {"error": str(error)}
    except MemoryError as error:
        return {"error": str(error) or "not enough memory", "is_large": True}
    return {
        "differs": differs,
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
