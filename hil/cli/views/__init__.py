"""Output of the commands, and helpers that several commands use to open the config, the history and a robot."""
