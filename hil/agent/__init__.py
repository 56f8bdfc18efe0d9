"""What runs on the target: CPython 3.6 and later, standard library, numpy and one runtime.

Shipped as one zip file (``hil.targets.bundle``); imports nothing else of ``hil``.
"""

PROTOCOL = 1
