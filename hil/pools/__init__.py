"""Obtain the boards of a target that has several boards, assign them to the processes of a run, and release them."""
