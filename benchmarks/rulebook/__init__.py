"""A benchmark that checks that no judge of a report is weaker than another."""
