"""Tail latency: Why is my p50 fine and my users unhappy?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "capacity.tail_latency.tail_latency": ["fan_out_slow_share", "leaf_level"],
        "capacity.tail_latency.prompt_tails": ["blocked_share"],
        "capacity.tail_latency.second_copies": ["Copies", "serve_copies"],
    },
)
