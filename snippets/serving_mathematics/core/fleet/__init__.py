"""One simulator of many engines: batches, caches, queues, routers, clients and replicas."""
