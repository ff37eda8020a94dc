"""Latency distribution: How sure am I of my p99, and can I add or average it?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "definitions.latency_distribution.latency_distribution": [
            "quantile",
            "RankInterval",
            "quantile_ranks",
            "quantile_interval",
            "wilks_sample_size",
            "quantile_standard_error",
        ],
        "definitions.latency_distribution.coordinated_omission": [
            "closed_loop_latencies",
            "corrected_latencies",
            "stall_quantile",
            "stalling_server",
            "LoadRun",
            "load_run",
        ],
        "definitions.latency_distribution.latency_comparison": [
            "quantile_difference",
            "block_interval",
            "gap_percentiles",
        ],
        "definitions.latency_distribution.latency_sketch": [
            "bucket_ratio",
            "LatencySketch",
            "sketch",
            "merge",
            "sketch_quantile",
            "bucket_count",
            "native_bucket",
            "native_relative_error",
        ],
    },
)
