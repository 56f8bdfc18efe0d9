"""What of a config makes no sense, alone or together, although its shape is right."""
