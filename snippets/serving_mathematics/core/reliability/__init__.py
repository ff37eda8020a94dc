"""Failures: how often, for how long, and who is told."""
