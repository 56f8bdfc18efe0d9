"""``Progress``: a line when a step begins and, while it lasts, what is left of it."""

from __future__ import annotations

import threading
import time

import pytest

from hil.session import steps
from hil.session.steps import Progress, Step, as_progress


@pytest.mark.parametrize(
    ("step", "done", "elapsed", "text"),
    [
        (Step("a", 50, "batches"), 10, 8.0, "a: 8 s so far, 10 of 50 batches, about 32 s left"),
        (Step("a", 50, "batches"), 0, 8.0, "a: 8 s so far, 0 of 50 batches"),
        (Step("a", 50, "batches"), 50, 8.0, "a: 8 s so far, 50 of 50 batches, about 0 s left"),
        (Step("a", 50, "batches"), 60, 8.0, "a: 8 s so far, 50 of 50 batches"),
        (Step("a", seconds=20.0), 0, 8.0, "a: 8 s so far, at most 12 s left"),
        (Step("a", seconds=20.0), 0, 21.0, "a: 21 s so far, longer than expected"),
        (Step("a", seconds=1800.0), 0, 8.0, "a: 8 s so far, at most 30 min left"),
        (Step("a"), 0, 130.0, "a: 2 min so far"),
    ],
)
def test_what_is_left_is_stated(step: Step, done: int, elapsed: float, text: str) -> None:
    """What is left follows from the units done, else from the longest time; nothing is stated if neither is known."""
    step.advance(done)
    assert step.remaining(elapsed) == text


class Screen(Progress):
    """Collects what a terminal shows: lines, and texts that replace each other."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.replaced: list[str] = []
        self.drawn = threading.Event()
        super().__init__(self.lines.append)

    def replace(self, text: str) -> bool:
        """Collect a text that replaces the one before."""
        self.replaced.append(text)
        self.drawn.set()
        return True


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "SHORT", 0.01)
    monkeypatch.setattr(steps, "REDRAWN", 0.01)
    monkeypatch.setattr(steps, "KEPT", (0.01,))


def test_a_short_step_prints_its_line_alone() -> None:
    """A step of less than two seconds prints its line, or nothing if it was not announced."""
    lines: list[str] = []
    progress = as_progress(lines.append)
    with progress.step("building"), progress.step("hashing", said=False):
        pass
    assert lines == ["building"]


@pytest.mark.usefixtures("_quick")
def test_a_long_step_is_reported_in_a_log() -> None:
    """In a log, the remaining work of a long step is printed as lines, at intervals."""
    lines: list[str] = []
    with Progress(lines.append).step("reading", total=4, unit="files", said=False) as step:
        step.advance()
        for _ in range(1000):
            if lines:
                break
            time.sleep(0.01)
        time.sleep(0.1)
    (line,) = lines
    assert "1 of 4 files" in line


@pytest.mark.usefixtures("_quick")
def test_a_terminal_shows_the_innermost_step_and_is_left_clean() -> None:
    """On a terminal only the innermost step is shown, and its text is removed at the end."""
    screen = Screen()
    with screen.step("outer"):
        with screen.step("inner"):
            screen.drawn.clear()
            assert screen.drawn.wait(5)
            assert "inner" in screen.replaced[-1]
        assert not screen.replaced[-1] or "inner" not in screen.replaced[-1]
    assert not screen.replaced[-1]
    assert screen.lines == ["outer", "inner"]


def test_an_error_ends_the_step() -> None:
    """An error passes through, and the thread that watches the step ends with it."""
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), Progress(lambda _: None).step("dividing"):
        _ = 1 / 0
    assert threading.active_count() == before


def test_counted_items_pass_through() -> None:
    """``counting`` yields its items unchanged and counts those that were used."""
    step = Step("a", 3)
    items = step.counting(iter("abc"))
    assert next(items) == "a"
    assert step.done == 0
    assert list(items) == ["b", "c"]
    assert step.done == 3
