"""Where a failure starts: the first node that differs, the likely cause, and a bundle that replays it."""
