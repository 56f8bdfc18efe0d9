"""Handles SIGTERM, with which CI runners end a job, like Ctrl-C: the run writes its report and releases its target."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def sigterm_interrupts(target: str) -> Iterator[None]:
    """Make the first SIGTERM raise ``KeyboardInterrupt`` in the context; later ones are ignored.

    Does nothing outside the main thread, or if other code installed a handler of SIGTERM.
    """

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
