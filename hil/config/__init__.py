"""Read and check ``hil.toml``; define its tables as pydantic models."""
