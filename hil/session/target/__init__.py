"""The target of a session: held, matched with the declared board, kept in its declared state."""
