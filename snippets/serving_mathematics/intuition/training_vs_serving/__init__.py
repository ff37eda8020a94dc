"""Training or serving: Which model do I train for years of serving, and which do I deploy?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "intuition.training_vs_serving.training_vs_serving": [
            "ScalingLaw",
            "Training",
            "lifetime_flops",
            "loss",
            "compute_optimal_tokens",
            "tokens_for_loss",
            "lifetime_optimum",
            "lifetime_saving",
        ],
        "intuition.training_vs_serving.deployment_choice": [
            "Replica",
            "carried_per_s",
            "fewest_replicas",
            "cheapest",
        ],
    },
)
