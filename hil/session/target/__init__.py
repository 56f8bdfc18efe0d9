"""Hold the target of a session, confirm its board, and keep it in its declared state."""
