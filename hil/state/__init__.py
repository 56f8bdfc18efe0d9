"""The state contract: what a target was asked to be like, what it was like, and who is to blame for the difference."""

from hil.state.judge_state import OF_MEMORY, fold, judge, of_facts
from hil.state.state_types import Contract, Finding, State

__all__ = ["OF_MEMORY", "Contract", "Finding", "State", "fold", "judge", "of_facts"]
