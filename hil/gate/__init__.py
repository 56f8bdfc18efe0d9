"""The gate: judges a report by a policy. Every command that judges a report uses it."""

from hil.gate.gate import Decision, exit_code_of, judge, open_report, seal, verify

__all__ = ["Decision", "exit_code_of", "judge", "open_report", "seal", "verify"]
