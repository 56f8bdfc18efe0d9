"""Judge whether a target is ready for a session, and name the fix of each fault.

``hil.doctor.run_survey`` collects facts on the target. All other modules are pure functions of these facts.
"""

from hil.doctor.examine import examine
from hil.doctor.findings import Finding, State

__all__ = ["Finding", "State", "examine"]
