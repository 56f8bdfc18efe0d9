"""Compute the SSH hops to a target: from its spec, and from the SSH config as the installed ``ssh`` reads it."""
