"""Latency, throughput, cost: Which batch size, and at what price per token?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "intuition.latency_throughput_cost.latency_throughput_cost": [
            "token_gap_s",
            "answers_per_s",
            "most_within",
        ],
        "core.hardware.roofline": [
            "ridge_intensity",
            "attainable_flops",
            "decode_step_time",
            "cost_per_million",
        ],
        "intuition.latency_throughput_cost.steps_beyond_roofs": ["roofline_per_token_s"],
    },
)
