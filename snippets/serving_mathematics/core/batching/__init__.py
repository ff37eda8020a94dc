"""Engines that batch: their steps, places and order."""
