"""Whether a target is ready for a session: facts of the target are judged by pure functions, with a fix for each fault.

``hil.doctor.run_survey`` collects the facts. All other modules take facts and return findings.
"""

from hil.doctor.examine import examine
from hil.doctor.findings import Finding, State

__all__ = ["Finding", "State", "examine"]
