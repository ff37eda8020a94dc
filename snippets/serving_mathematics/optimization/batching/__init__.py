"""Batching: Static, dynamic or continuous batching?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "core.queues.batches": ["form_batches"],
        "optimization.batching.batching": ["static_efficiency"],
        "optimization.batching.scheduler": ["Stepped", "serve_steps", "ask_machine"],
        "optimization.batching.token_budget": ["full_step_s"],
    },
)
