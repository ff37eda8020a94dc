"""SLO and SLA: Which objective can I promise, and what does breaking it cost?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "definitions.slo_sla.slo_sla": [
            "load_cap",
            "simulated_quantile",
            "request_attainment",
            "window_attainment",
        ],
        "definitions.slo_sla.joint_objective": ["joint_attainment"],
        "definitions.slo_sla.monthly_attainment": [
            "downtime_exceeds",
            "simulated_downtime",
            "internal_target",
            "worst_rolling_downtime",
        ],
        "definitions.slo_sla.outage_dependence": [
            "simulated_bursts",
            "down_together",
            "pair_downtime_exceeds",
        ],
        "definitions.slo_sla.sla_credits": ["Agreement", "credit_due", "expected_credit"],
    },
)
