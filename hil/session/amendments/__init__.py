"""What changes a verdict after judging."""
