"""Reading and checking ``hil.toml``, and the pydantic models of its tables."""
