"""SIGTERM, with which CI runners end a job: the run ends as with Ctrl-C, writes its report and releases its target."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def sigterm_interrupts(target: str) -> Iterator[None]:
    """Make SIGTERM raise ``KeyboardInterrupt``, once. A handler that other code installed is left in place."""

    def end(*_: object) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # finishing takes a moment; SIGKILL still ends it
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
