"""Failure budgets: When do I wake someone?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "intuition.failure_budgets.failure_budgets": [
            "burn_rate",
            "exhaustion_time",
            "burn_threshold",
        ],
        "intuition.failure_budgets.burn_rate_alerts": [
            "errors_to_fire",
            "alert_firing",
            "alert_span",
        ],
        "intuition.failure_budgets.false_pages": ["failure_counts", "false_pages"],
        "intuition.failure_budgets.late_together": ["clump_size"],
    },
)
