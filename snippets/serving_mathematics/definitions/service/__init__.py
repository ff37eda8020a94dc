"""Service: s(x): What is a service?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "definitions.service.service": [
            "Service",
            "on_grid",
            "in_sequence",
            "in_parallel",
            "either",
            "retried",
            "answered_within",
            "answer_quantile",
        ],
        "definitions.service.latency_closed_forms": [
            "erlang_survival",
            "erlang_quantile",
            "hypoexponential_survival",
            "slowest_survival",
            "branch_survival",
            "branch_quantile",
            "averaged_quantiles",
        ],
        "definitions.service.streamed_answer": ["streamed"],
        "definitions.service.thresholded_decision": [
            "softmax",
            "escalated",
            "cost_threshold",
            "expected_cost",
            "incurred_costs",
            "at_temperature",
        ],
    },
)
