"""The gate: a policy applied to a report, by everybody who judges one."""

from hil.gate.gate import Decision, exit_code_of, judge, open_report, seal, verify

__all__ = ["Decision", "exit_code_of", "judge", "open_report", "seal", "verify"]
