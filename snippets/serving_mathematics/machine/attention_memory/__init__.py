"""Attention memory: What does a token leave behind?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "machine.attention_memory.attention_memory": [
            "held_bytes",
            "token_bytes",
            "read_bytes",
            "attention_flops",
            "spread_bytes",
            "sequences_that_fit",
            "uniform_estimate",
        ],
        "machine.attention_memory.attention_kernels": ["break_even_context"],
    },
)
