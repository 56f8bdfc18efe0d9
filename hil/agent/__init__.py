"""The agent, the part of hil that runs on the target. It needs CPython 3.6 or later, numpy and one runtime.

It is sent as one zip file (``hil.targets.bundle``) and imports nothing of ``hil`` outside of ``hil.agent``.
"""

PROTOCOL = 1
"""Version of the protocol between host and agent, which the agent's first message states."""
