"""Little's law: How many requests are in flight, and what does that tell me about the rest?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "capacity.littles_law.littles_law": [
            "mean_in_flight",
            "number_in_system",
            "time_in_window",
            "WindowAverages",
            "window_averages",
            "edge_error",
        ],
        "capacity.littles_law.kv_cache_occupancy": ["token_seconds", "mean_held"],
        "capacity.littles_law.block_lifetime": ["block_lifetime_s"],
        "capacity.littles_law.benchmark_audit": [
            "Audit",
            "audit_benchmark",
        ],
    },
)
