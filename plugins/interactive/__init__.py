"""Two rules for runs by hand, outside of CI and without the gate: trials of a selection, and a report that may stay."""
