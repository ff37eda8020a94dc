"""Shadow and canary: Is the new version worse, and how soon may I know?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "architecture.shadow_canary.clumps": ["clump", "false_alarm_rate"],
        "architecture.shadow_canary.repeated_looks": ["crossing_probability", "pocock_constant"],
        "architecture.shadow_canary.sequential_tests": ["msprt_ratio"],
        "architecture.shadow_canary.shadow_canary": ["samples_per_arm", "canary_answers"],
        "architecture.shadow_canary.paired_answers": [
            "mcnemar_exact",
            "shadow_pairs",
            "noisy_shares",
        ],
        "architecture.shadow_canary.paired_means": ["time_harm"],
        "architecture.shadow_canary.release_gate": ["decide"],
    },
)
