"""Targets reached over SSH: the agent's protocol runs over an SSH channel."""

from hil.targets.ssh.target import SshTarget

__all__ = ["SshTarget"]
