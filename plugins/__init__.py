"""The pytest plugin: options, hooks, parametrization and reporting, on top of the library."""
