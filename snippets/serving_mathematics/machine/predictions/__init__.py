"""Predictions: How far can a plan be trusted?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "core.hardware.published_configs": ["read_architecture"],
        "core.hardware.benchmark_loops": ["interruptions_s", "loop_latencies"],
        "core.hardware.kept_back": ["held_steps"],
        "core.hardware.fronts": ["fit_front"],
    },
)
