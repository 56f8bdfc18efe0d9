"""Judges whether a target is ready for a session, by pure functions of its facts, and names fixes for faults.

``hil.doctor.run_survey`` collects the facts. All other modules take facts and return findings.
"""

from hil.doctor.examine import examine
from hil.doctor.findings import Finding, State

__all__ = ["Finding", "State", "examine"]
