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
            "matched_logits_gradient",
        ],
        "core.batching.speculative_decoding": [
            "expected_tokens",
            "speedup",
            "operations_factor",
            "best_draft_length",
        ],
        "optimization.distillation.dependent_acceptances": [
            "transition_matrix",
            "context_shares",
            "exact_tokens_per_round",
            "two_modes",
        ],
        "optimization.distillation.digits_distillation": ["PairedGain", "paired_gain"],
        "optimization.distillation.draft_models": ["fit_draft", "most_accepted"],
        "optimization.distillation.speculative_sampling": [
            "acceptance_rate",
            "residual",
            "MeanTokens",
            "Rounds",
            "speculate",
        ],
    },
)
