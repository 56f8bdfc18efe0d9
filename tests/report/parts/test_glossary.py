"""The page explains its own words."""

from __future__ import annotations

from hil.report import html
from hil.report.parts.glossary import PLACE, WORDS, explained
from tests.report import sample


def test_the_words_that_occur_are_explained() -> None:
    """A word that the page shows is explained on it, any other word is not."""
    text = html.render(sample.passed())
    assert PLACE not in text
    assert WORDS["saturated"] in text
    assert WORDS["foreign"] not in text


def test_only_shown_text_counts() -> None:
    """Names of classes, styles and attributes, and parts of words, are not explained."""
    page = f"<style>.cold {{}}</style><p class='foreign' title='paced'>unforeignness</p>{PLACE}"
    assert explained(page) == page.replace(PLACE, "")
    assert WORDS["cold"] in explained(f"<p>Cold</p>{PLACE}")
