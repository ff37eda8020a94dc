"""Distillation: Can a small model learn what the big one knows?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "optimization.distillation.distillation": [
            "soften",
            "kl_divergence",
            "distillation_loss",
            "output_gradient",
        ],
        "optimization.distillation.when_it_pays": ["training_price", "pay_back_tokens"],
        "core.batching.speculative_decoding": [
            "expected_tokens",
            "speedup",
            "best_draft_length",
        ],
        "optimization.distillation.speculative_sampling": [
            "acceptance_rate",
            "residual",
            "speculate",
        ],
        "optimization.distillation.dependent_acceptances": ["tokens_in_passages"],
    },
)
