"""What only a Jetson has: its board's facts, power modes, rails and tegrastats."""
