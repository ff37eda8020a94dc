"""Model routers: Which replica, and which model, should take this request?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "architecture.model_routers.prefix_routing": [
            "prefix_first",
            "slack_that_pays",
            "hash_bounded",
        ],
        "architecture.model_routers.model_routers": [
            "best_of_d_found",
            "cascade_cost",
            "router_cost",
        ],
    },
)
