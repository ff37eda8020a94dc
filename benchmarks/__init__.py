"""Measurements of speed that are not tests: `make bench`."""
