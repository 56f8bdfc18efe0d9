"""What only a Jetson has: board facts, power modes, power rails and tegrastats."""
