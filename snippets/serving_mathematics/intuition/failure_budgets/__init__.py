"""Failure budgets: When do I wake someone?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "intuition.failure_budgets.failure_budgets": [
            "error_budget",
            "burn_rate",
            "budget_spent",
            "exhaustion_time",
            "burn_threshold",
            "detection_time",
            "reset_time",
        ],
        "core.reliability.burn_rate_alerts": ["errors_to_fire", "alert_firing", "simulated_month"],
        "core.reliability.availability": [
            "series",
            "parallel",
            "k_of_n",
            "zero_failure_bound",
            "clopper_pearson",
        ],
        "intuition.failure_budgets.false_pages": [
            "binomial_probabilities",
            "fire_probability",
            "page_start_probability",
        ],
        "intuition.failure_budgets.stream_outcome": ["Answer", "outcome", "stream_error_rate"],
    },
)
