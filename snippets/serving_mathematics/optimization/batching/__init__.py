"""Batching: Static, dynamic or continuous batching?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "core.queues.batches": ["form_batches"],
        "optimization.batching.batching": ["static_efficiency"],
        "core.batching.continuous_batching": ["simulate_steps"],
        "optimization.batching.token_budget": ["full_step_s"],
    },
)
