"""The state contract: the declared state of a target, its observed state, and the cause of each difference."""

from hil.state.judge_state import OF_MEMORY, fold, judge, of_facts
from hil.state.state_types import Contract, Finding, State

__all__ = ["OF_MEMORY", "Contract", "Finding", "State", "fold", "judge", "of_facts"]
