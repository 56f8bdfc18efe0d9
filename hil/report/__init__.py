"""One run's report: its schema, reading, writing, and what people see of it.

Importing this package loads nothing; ``hil.report.schema`` is version 1 of ``report.json``.
"""
