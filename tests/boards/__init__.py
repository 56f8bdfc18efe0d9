"""Simulated boards: machines on a network with a Jetson's files, for tests of what reaches a board over SSH."""
