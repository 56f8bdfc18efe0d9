"""The report of one run: its schema, how it is read and written, and its views (page, summary, terminal).

Importing this package imports none of its modules. ``hil.report.schema`` is version 1 of ``report.json``.
"""
