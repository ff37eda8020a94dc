"""Tail latency: Why is my p50 fine and my users unhappy?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "capacity.tail_latency.tail_latency": [
            "TailSummary",
            "tail_summary",
            "fan_out_slow_share",
            "leaf_level",
            "mean_of_slowest",
            "fork_join_mean",
            "simulate_fork_join",
        ],
        "core.queues.shares": ["Share", "wilson_interval"],
        "capacity.tail_latency.engine_hedging": ["hedged_first_tokens"],
        "capacity.tail_latency.hedging": [
            "lognormal_survival",
            "hedged_survival",
            "hedged_quantile",
            "server_time",
            "shared_cause_survival",
        ],
        "capacity.tail_latency.hedging_collapse": ["mean_response_by_time"],
        "capacity.tail_latency.hedging_simulator": [
            "Workload",
            "poisson_workload",
            "hedged_responses",
            "tied_responses",
            "responses_by_event",
            "quantile_estimate",
        ],
        "capacity.tail_latency.hedging_under_load": [
            "smallest_stable_delay",
            "hedged_load",
            "tipping_load",
            "loaded_quantile",
            "highest_load_for_percentile",
            "break_even_load",
            "tracked_quantile",
        ],
        "capacity.tail_latency.server_tail": [
            "response_exceeds",
            "processor_sharing_mean",
            "first_come_mean",
            "processor_sharing_responses",
        ],
    },
)
