"""SLO and SLA: Which objective can I promise, and what does breaking it cost?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "definitions.slo_sla.joint_objective": [
            "joint_attainment",
            "replicas_for",
            "missed_without_spare",
        ],
        "definitions.slo_sla.monthly_attainment": [
            "downtime_exceeds",
            "internal_target",
        ],
        "definitions.slo_sla.sla_credits": ["Agreement", "expected_credit"],
    },
)
