"""Formal definitions: what service, latency, throughput, utilization and objectives mean."""
