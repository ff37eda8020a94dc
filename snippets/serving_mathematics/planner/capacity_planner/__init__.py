"""The search: the fewest replicas of a deployment that keep a promise, alone, behind a router, in
two fleets or on devices that are given, and how far the step model may be off.
"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "planner.capacity_planner.capacity_planner": ["plan"],
        "planner.capacity_planner.judged_requests": ["sectioned_quantiles"],
        "planner.capacity_planner.refusals": ["Infeasible"],
    },
)
