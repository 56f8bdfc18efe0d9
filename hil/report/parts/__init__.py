"""Parts of the views of a report: next steps, the selected rows, measured values as CSV, the meaning of words."""
