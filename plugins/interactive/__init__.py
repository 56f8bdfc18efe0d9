"""What differs outside of CI and of the gate: a selection is a trial, and an earlier report may stay."""
