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
        ],
        "machine.attention_memory.who_fits": [
            "sequences_that_fit",
            "full_read_s",
            "spread_bytes",
        ],
        "machine.attention_memory.uniform_formula": ["uniform_estimate"],
    },
)
