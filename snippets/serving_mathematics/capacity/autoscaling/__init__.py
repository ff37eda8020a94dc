"""Autoscaling: How many replicas, when, and what happens while they start?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "capacity.autoscaling.replica_response": ["Replica", "replica_of", "elasticities"],
        "capacity.autoscaling.spike": ["cold_start"],
    },
)
