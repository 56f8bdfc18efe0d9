"""Parts of a report: rules for its rows, next steps, selected rows, measured values as CSV, the meaning of words."""
