"""``hil.toml`` -> typed specs."""
