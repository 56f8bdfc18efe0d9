"""Obtain the boards of a target that is several boards, give them to the processes of a run, and release them."""
