"""Distribute a run over the boards of a target that is several boards, through pytest-xdist."""
