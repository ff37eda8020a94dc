"""Throughput: Where does more concurrency stop helping?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "core.batching.batching_engine": [
            "engine_rates",
            "load_dependent_mva",
            "engine_ceiling",
            "engine_saturation",
            "batching_throughput",
        ],
        "core.queues.closed_network": ["convolution_throughput", "simulate_cycles", "mean_gap"],
        "core.queues.mean_value_analysis": [
            "saturation_clients",
            "asymptotic_bounds",
            "balanced_job_bounds",
            "exact_mva",
        ],
        "definitions.throughput.scalability_fit": [
            "usl_throughput",
            "peak_concurrency",
            "ScalabilityFit",
            "fit_usl",
        ],
    },
)
