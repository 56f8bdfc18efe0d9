"""What several commands print, and how they find config, history and robot."""
