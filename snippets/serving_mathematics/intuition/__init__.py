"""Intuition: what changes when a model is served instead of trained."""
