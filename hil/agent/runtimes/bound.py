"""A feed that is ready to run."""

from typing import Any, Callable, Mapping, Optional

Feed = Mapping[str, Any]
"""Arrays by input name."""


class Bound:
    """A feed that is ready to run repeatedly.

    Attributes:
        run: runs the feed once; returns the outputs in the engine's order, valid until the next run in the slot.
        start: queues a run; None, like ``finish``, if the runtime runs one inference at a time.
        finish: waits for the queued run and returns its outputs.
        device_seconds: returns the device time of the last run in seconds; None if there is no device clock.
    """

    def __init__(
        self,
        run: Callable[[], Any],
        start: Optional[Callable[[], None]] = None,
        finish: Optional[Callable[[], Any]] = None,
        device_seconds: Optional[Callable[[], float]] = None,
        close: Optional[Callable[[], None]] = None,
    ) -> None:
        self.run = run
        self.start = start
        self.finish = finish
        self.device_seconds = device_seconds
        self._close = close

    def close(self) -> None:
        """Release the feed's memory; the engine stays loaded."""
        if self._close is not None:
            self._close()
