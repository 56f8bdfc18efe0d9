"""A six-axis arm: joint angles to end-effector pose."""
