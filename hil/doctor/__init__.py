"""Judge whether a target is ready for a session, and name the fix of each fault, if one is known.

``hil.doctor.run_survey`` collects facts on the target. The other modules judge these facts;
``declared_models`` reads the models' files too.
"""

from hil.doctor.examine import examine
from hil.doctor.findings import Finding, State

__all__ = ["Finding", "State", "examine"]
