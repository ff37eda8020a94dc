"""Autoscaling: How many replicas, when, and what happens while they start?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "core.fleet.scaling_rules": ["hpa_replicas"],
        "capacity.autoscaling.replica_response": ["Replica", "replica_of", "elasticities"],
        "capacity.autoscaling.fluid_fleet": ["FleetRun", "run_fleet"],
        "capacity.autoscaling.signal_policies": ["on_tokens", "on_arrivals"],
        "capacity.autoscaling.spike": ["cold_start"],
        "capacity.autoscaling.server_staffing": ["halfin_whitt", "square_root_servers"],
    },
)
