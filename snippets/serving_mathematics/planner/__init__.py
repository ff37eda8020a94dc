"""The capacity planner: from a question to replicas, batch, memory, latencies, cost and limits."""
