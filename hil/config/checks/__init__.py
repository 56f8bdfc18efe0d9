"""Check a config for values that have the right type but are impossible or contradict each other."""
