"""Add explanations of words to a page, for those words that occur on it."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

PLACE = "<!-- words -->"
"""The place in a template where ``explained`` inserts the explanations. Text from elsewhere cannot contain it, because
it is escaped."""
TAG = re.compile(r"<style>.*?</style>|<[^>]*>", re.DOTALL)
WORDS = {
    "saturated": "Timed without pauses: one inference at a time, each beginning when the last one ends. Latency and "
    "frame rate are judged by this series.",
    "streams": "Timed with several inferences in flight at once.",
    "paced": "Timed at the rate of a camera: each inference begins when a frame would arrive.",
    "sustained": "Timed for minutes without pauses, until the board is as hot as it gets.",
    "cold": "Timed in a new process that has not loaded anything yet.",
    "inconclusive": "Neither passed nor failed: the measurement does not show on which side of the limit the value is. "
    "It never counts as a pass.",
    "not run": "Planned and not judged; the cause is stated. A required check that was not run fails the run.",
    "required": "The policy ([gate] require in hil.toml) names this check.",
    "evidence": "The kind of machine that a verdict is based on, best first: device (a confirmed board or GPU), "
    "emulated (a target that is declared as a simulation), host (the machine that ran pytest), cpu-fallback (that "
    "machine's CPU, in place of a target that could not be reached).",
    "foreign": "An engine that was built elsewhere: how, and with which calibration data, is unknown.",
    "synthetic": "Generated inputs in place of real data. They say nothing about accuracy.",
    "control": "A fixed small network, timed between inferences. If its time changes, the machine changed and not "
    "the model.",
    "confounded": "Something else may be the cause of the change, such as another machine or another load.",
    "unclear": "Neither a change nor its absence is shown.",
    "refused": "The two sides were measured by different methods, so their numbers are not compared.",
    "fallback": "The target could not be reached, and another one did the work. Such a run never passes.",
}


def explained(page: str) -> str:
    """Return ``page`` with ``PLACE`` replaced by explanations of those words that occur in its text."""
    text = TAG.sub(" ", page).lower()
    known = [word for word in WORDS if re.search(rf"\b{re.escape(word)}\b", text)]
    lines = [f"<div><dt>{escape(word)}</dt><dd>{escape(WORDS[word])}</dd></div>" for word in known]
    listed = f'<dl class="facts words">{"".join(lines)}</dl>'
    block = f"<details><summary>Words on this page</summary>{listed}</details>" if lines else ""
    return page.replace(PLACE, Markup(block), 1)  # noqa: S704 - escaped above
