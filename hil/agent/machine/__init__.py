"""Facts and readings of the machine: libraries, memory, clocks, sensors, who else uses the GPU."""
