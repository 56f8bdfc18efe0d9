"""How often verdicts are wrong, by seeded simulation: ``python -m benchmarks.verdicts [--quick] [--json FILE]``."""
