"""A machine across a network as a target: the same agent, its frames straight over an SSH channel."""

from hil.targets.ssh.target import SshTarget

__all__ = ["SshTarget"]
