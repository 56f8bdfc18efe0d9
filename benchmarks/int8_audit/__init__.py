"""Plant random faults into calibrations and measure whether the INT8 audit finds each and names its cause."""
