"""Builds releases from judged reports, deploys them to robots, and rolls back."""
