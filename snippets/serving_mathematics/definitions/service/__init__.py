"""Service: s(x): What is the p99 of a chain of calls?"""

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
        "definitions.service.streamed_answer": ["streamed"],
        "definitions.service.pipeline": ["law_of", "percentile_bound"],
        "definitions.service.latency_closed_forms": ["hypoexponential_survival"],
        "definitions.service.thresholded_decision": ["escalated", "cost_threshold"],
    },
)
