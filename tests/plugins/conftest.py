"""A fresh project for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugins.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A healthy project; the test breaks it."""
    return Project.make(tmp_path)
