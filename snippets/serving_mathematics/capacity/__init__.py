"""Capacity: arrivals, Little's law, tails, autoscaling and overload."""
