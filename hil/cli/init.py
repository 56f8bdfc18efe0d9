"""``hil init MODEL.onnx``: a starter ``hil.toml``."""

from __future__ import annotations


def command() -> None:
    """Write a commented hil.toml for an ONNX model."""
