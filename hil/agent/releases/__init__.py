"""Stage, activate and roll back the releases of a robot."""
