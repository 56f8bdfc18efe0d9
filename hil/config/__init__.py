"""Read and check ``hil.toml``, and its specs as pydantic models."""
