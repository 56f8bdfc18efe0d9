"""Compute the SSH hops to a target: from its spec, and from the SSH config as the installed ``ssh`` reads it."""

from hil.targets.ssh.config.router import route, split_address

__all__ = ["route", "split_address"]
