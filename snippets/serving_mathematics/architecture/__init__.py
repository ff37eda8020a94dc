"""Serving architecture: wire formats, batch jobs, streaming, routing and releases."""
