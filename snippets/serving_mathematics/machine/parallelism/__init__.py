"""Parallelism: Over how many devices?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "machine.parallelism.parallelism": ["amdahl_gain"],
        "machine.parallelism.engine_widths": ["best_width"],
        "core.hardware.deployments": [
            "Storage",
            "Deployment",
            "storage",
            "stored",
            "own_precision",
            "draft_engine",
            "cache_devices",
            "weight_bytes",
            "layer_token_bytes",
            "sequence_bytes",
            "cache_room_bytes",
            "room_sequences",
            "fewest_devices",
            "Impossible",
            "possible",
            "require_deployment",
        ],
        "machine.parallelism.all_reduce_times": ["latency_cap"],
    },
)
