"""How a machine is reached and held, and the host's end of the agent that runs there."""
