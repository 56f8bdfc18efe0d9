"""Define, read and write the report of one run, and show it as a page, as a summary and on the terminal.

``hil.report.schema`` is version 1 of ``report.json``.
"""
