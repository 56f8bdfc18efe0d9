"""Two rules for runs by hand, outside of CI and without the gate: on selections, and on keeping an earlier report."""
