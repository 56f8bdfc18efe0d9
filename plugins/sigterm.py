"""SIGTERM, with which CI runners end a job: the run ends as by Ctrl-C, with a report, and lets go of its target."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def obeyed(target: str) -> Iterator[None]:
    """Within it SIGTERM raises ``KeyboardInterrupt``, once; a handler that somebody else has put there stays."""

    def end(*_: object) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # to finish takes a moment; who has no patience sends SIGKILL
        raise KeyboardInterrupt(f"ended by SIGTERM: on target {target!r}: run again, or give the job more time")

    ours = threading.current_thread() is threading.main_thread()
    ours = ours and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
