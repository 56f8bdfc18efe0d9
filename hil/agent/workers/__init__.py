"""Worker processes: start them, build and run engines in them, time and sample them."""
