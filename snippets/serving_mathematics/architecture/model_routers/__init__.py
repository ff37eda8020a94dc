"""Model routers: Which replica, and which model, should take this request?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "architecture.model_routers.model_routers": [
            "best_of_d_found",
            "round_robin_found",
            "shorter_of_two_found",
            "response_exceeds",
            "response_quantile",
            "cascade_cost",
            "router_cost",
        ],
        "architecture.model_routers.bounded_hashing": [
            "bounded_capacity",
            "HashRing",
            "assign_bounded",
            "AffinityRun",
            "simulate_affinity",
        ],
        "architecture.model_routers.digits_cascade": [
            "confidences",
            "fit_temperature",
            "Frontier",
            "cascade_frontier",
            "choose_threshold",
            "paired_difference",
            "multiplications",
        ],
        "architecture.model_routers.replica_routing": [
            "finite_fleet_mean",
            "FleetSample",
            "simulate_fleet",
        ],
    },
)
