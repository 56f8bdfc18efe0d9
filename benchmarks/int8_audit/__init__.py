"""Faults planted into calibrations, at random by seed: does the INT8 audit find each, and name its cause?"""
