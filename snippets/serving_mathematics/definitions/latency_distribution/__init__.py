"""Latency distribution: How sure am I of my p99, and can I add or average it?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "definitions.latency_distribution.latency_distribution": [
            "RankInterval",
            "quantile_ranks",
            "wilks_sample_size",
        ],
        "definitions.latency_distribution.clumped_percentiles": [
            "design_effect",
            "clumped_interval",
            "quantile_difference",
        ],
        "definitions.latency_distribution.latency_sketch": [
            "LatencySketch",
            "sketch",
            "merge",
            "sketch_quantile",
        ],
        "definitions.latency_distribution.coordinated_omission": [
            "closed_loop_latencies",
            "corrected_latencies",
        ],
    },
)
