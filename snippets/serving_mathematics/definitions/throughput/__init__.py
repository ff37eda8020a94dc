"""Throughput: Where does more concurrency stop helping?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "core.queues.mean_value_analysis": ["saturation_clients", "asymptotic_bounds", "exact_mva"],
        "definitions.throughput.closed_loop_engine": ["loop_rate", "rates_of", "knee"],
        "definitions.throughput.measured_loop": ["ceiling_of"],
        "definitions.throughput.lifted_ceiling": ["engine_rates_of"],
        "definitions.throughput.scalability_fit": [
            "usl_throughput",
            "fit_usl",
        ],
    },
)
