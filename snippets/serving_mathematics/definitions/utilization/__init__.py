"""Utilization: How hot may I run?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "core.queues.erlang": [
            "utilization",
            "erlang_b",
            "erlang_c",
            "mean_wait",
            "wait_exceeds",
            "wait_quantile",
            "response_quantile",
            "max_utilization",
        ],
        "core.queues.queue_simulator": [
            "MeanEstimate",
            "fifo_waits",
            "gamma_times",
            "warm_up_length",
            "batch_means",
            "simulate_mean_wait",
        ],
        "definitions.utilization.constant_service_tail": [
            "constant_wait_exceeds",
            "max_constant_utilization",
        ],
        "definitions.utilization.pooling": ["sticky_break_even"],
        "definitions.utilization.queue_approximations": [
            "pollaczek_khinchine_wait",
            "vut_wait",
            "kingman_bound",
            "gamma_arrivals_wait",
            "allen_cunneen_wait",
            "sakasegawa_wait",
            "constant_service_wait",
        ],
        "definitions.utilization.utilization_gauge": [
            "any_busy",
            "most_load_behind",
            "places_taken",
            "relaxation_time",
            "interval_coverage",
        ],
    },
)
