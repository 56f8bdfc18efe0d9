"""A six-axis arm: encoder and torque readings, step by step, to joint positions and velocities."""
