"""Findings on a model before any board is used: what TensorRT, a module or a JetPack release does not support.

``examine`` reads the files and returns all findings; the other modules are its rules, pure functions of what was read.
"""

from hil.lint.examine_model import Examined, examine
from hil.lint.machine import Machine
from hil.lint.model_findings import Finding, Level

__all__ = ["Examined", "Finding", "Level", "Machine", "examine"]
