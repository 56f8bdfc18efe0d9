"""Build the engines of a session, load them, and lend them to the checks."""
