"""Whether any judge of a report is weaker than another."""
