"""Shadow and canary: Is the new version worse, and how soon may I know?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "architecture.shadow_canary.shadow_canary": [
            "student_quantile",
            "PairedDifference",
            "paired_difference",
            "mcnemar_exact",
            "shadow_pairs",
            "noisy_shares",
            "samples_per_arm",
            "allocation_cost",
        ],
        "architecture.shadow_canary.correlated_metrics": [
            "variance_inflation",
            "false_alarm_rate",
            "naive_z",
            "adjusted_z",
            "batch_t",
            "simulate_ar1",
        ],
        "architecture.shadow_canary.drift": [
            "psi",
            "jensen_shannon",
            "chi_square_survival",
            "psi_null_quantile",
            "drift_p_value",
        ],
        "architecture.shadow_canary.release_gate": [
            "Bounds",
            "quality_harm",
            "error_harm",
            "latency_harm",
            "cost_harm",
            "Harm",
            "Decision",
            "decide",
            "Window",
            "Shadow",
            "Margins",
            "release_harms",
        ],
        "architecture.shadow_canary.repeated_looks": ["crossing_probability", "pocock_constant"],
        "architecture.shadow_canary.sequential_tests": [
            "sprt_bounds",
            "sprt_expected_samples",
            "fixed_samples",
            "SprtRuns",
            "simulate_sprt",
            "msprt_ratio",
            "always_valid_p",
        ],
    },
)
