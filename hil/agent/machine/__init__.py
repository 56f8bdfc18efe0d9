"""Read the machine: its libraries, memory, clocks, sensors, and the processes that use its GPU."""
