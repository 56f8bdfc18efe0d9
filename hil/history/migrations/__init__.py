"""How a history's tables came to be, step by step; run by ``hil.history.table_version``."""
