"""The book's machines: a few named deployments, and the traffic that they meet."""
