"""Latency, throughput, cost: Which batch size, and at what price per token?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "core.hardware.roofline": [
            "ridge_intensity",
            "attainable_flops",
            "matmul_intensity",
            "critical_batch",
            "decode_step_time",
            "largest_batch",
            "throughput_ceiling",
            "prompt_time",
            "cost_per_million",
        ],
        "intuition.latency_throughput_cost.energy": [
            "PowerShares",
            "board_power_w",
            "per_token_s",
            "busy_shares",
            "power_w",
            "joules_a_token",
            "daily_energy",
            "fit_power",
            "score_energy",
        ],
        "intuition.latency_throughput_cost.measured_roofline": [
            "Transformer",
            "Device",
            "generation_time",
            "held_out_prediction",
        ],
        "intuition.latency_throughput_cost.steps_beyond_roofs": ["roofline_per_token_s"],
    },
)
