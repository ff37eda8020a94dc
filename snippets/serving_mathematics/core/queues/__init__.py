"""Queues: closed forms and simulators."""
