"""Connections to target machines, and the host's side of the agent that runs on a target."""
