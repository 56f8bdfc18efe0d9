"""Provide the control of a session: a small network, built for the target once, and timed beside every series."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hil.errors import EngineBuildError, EngineError, Unsupported, WorkerLost
from hil.files.digests import writing
from hil.runtimes import runtime_record
from hil.session.engines import equal_boards
from hil.session.engines.control_network import ON_CPU, ON_GPU, network
from hil.targets.control import ControlOrder

if TYPE_CHECKING:
    from typing import Any

    from hil.session.context import Context

BUILD_LIMIT = 600.0
"""Seconds that building the control may take: as long as a small network takes on the slowest board, and a margin."""


def control(session: Context) -> ControlOrder | None:
    """Return the control of the session's target; ``None`` if its engine cannot be built there.

    The first call builds the engine, unless the target's store has it, and prints the reason if that fails. Raises
    ``LabError`` if the target is lost.
    """
    return session.memo.once(("control",), lambda: _control(session))


def _control(session: Context) -> ControlOrder | None:
    spec, record = session.spec, runtime_record(session.spec.runtime)
    workload = ON_GPU if record.uses_gpu else ON_CPU
    options: dict[str, Any] = {"gpu": spec.gpu} if record.uses_gpu and spec.gpu else {}
    loading: dict[str, Any] = {} if spec.threads is None else {"threads": spec.threads}
    if record.uses_gpu:
        loading = {"gpu": spec.gpu, "cuda": spec.cuda, "streams": 1, "cuda_graph": False}
    try:
        with session.progress.step(f"building the control on {session.used}", seconds=BUILD_LIMIT, said=False):
            digest = _uploaded(session, network(workload))
            engine = equal_boards.build(session, digest, "fp32", options, BUILD_LIMIT)
    except (Unsupported, EngineBuildError, EngineError, WorkerLost) as error:
        session.progress(
            f"no control is timed on {session.used}, so comparisons cannot notice that the machine got slower: {error}"
        )
        return None
    return ControlOrder(workload.name, engine.key, loading)


def _uploaded(session: Context, content: bytes) -> str:
    elsewhere = "set TMPDIR to another folder"
    with tempfile.TemporaryDirectory(prefix="hil-control-") as folder, writing(Path(folder), elsewhere):
        path = Path(folder) / "control.onnx"
        path.write_bytes(content)
        return session.agent.put_blob(path)
