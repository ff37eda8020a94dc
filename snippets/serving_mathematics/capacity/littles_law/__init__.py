"""Little's law: How many requests are in flight, and what does that tell me about the rest?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "capacity.littles_law.littles_law": [
            "WindowAverages",
            "mean_in_flight",
            "number_in_system",
            "area_under_number",
            "time_in_window",
            "window_averages",
        ],
        "capacity.littles_law.benchmark_audit": [
            "Audit",
            "audit_benchmark",
            "mean_latency_bounds",
            "Report",
        ],
        "capacity.littles_law.closed_loop": [
            "response_time",
            "saturating_users",
            "mean_value_analysis",
        ],
        "capacity.littles_law.distributional_law": ["number_distribution", "lifo_departures"],
        "capacity.littles_law.finite_window": [
            "edge_error",
            "window_for_error",
            "simulate_requests",
            "mean_over_replications",
        ],
        "capacity.littles_law.kv_cache_occupancy": [
            "residence_s",
            "token_seconds",
            "mean_held",
            "tokens_in_cache",
        ],
        "capacity.littles_law.running_window": ["running_noise", "own_spread"],
    },
)
