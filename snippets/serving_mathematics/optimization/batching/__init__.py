"""Batching: Static, dynamic or continuous batching?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "optimization.batching.batching": [
            "batch_rate",
            "static_efficiency",
            "greedy_latency",
            "form_batches",
        ],
        "optimization.batching.scheduler": ["Stepped", "serve_steps", "ask_machine"],
        "optimization.batching.batching_policies": ["padded_batch_s"],
        "optimization.batching.token_budget": ["full_step_s"],
    },
)
