"""The pytest plugin: options, hooks, parametrization and reporting above the library."""
