"""A history at the size that years of runs give it, and under what goes wrong with databases."""
