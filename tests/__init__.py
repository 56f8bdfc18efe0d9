"""This project's own tests; the folders mirror the tree they test."""
