"""From a verdict to its cause and the next step."""
