"""Measurements of the build that are not tests: `make bench-build`."""
