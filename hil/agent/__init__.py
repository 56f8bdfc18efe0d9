"""The agent, which runs on the target: CPython 3.6 or later, the standard library, numpy and one runtime.

It is shipped as one zip file (``hil.targets.bundle``) and imports nothing else of ``hil``.
"""

PROTOCOL = 1
