"""The processes that build and run engines, and what is measured of them."""
