"""Facts about the machine and readings of it: libraries, memory, clocks, sensors, GPU clients."""
