"""Is a target ready? What was found there, judged by pure functions, and the command that mends what is not.

``hil.doctor.run_survey`` does the asking; everything else takes facts and returns findings.
"""

from hil.doctor.examine import examine
from hil.doctor.findings import Finding, State

__all__ = ["Finding", "State", "examine"]
