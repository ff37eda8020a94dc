"""Hardware scheduling: Which request runs next, on which device, prefill or decode?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "core.fleet.waiting_lines": ["RankedLine", "Fair"],
        "optimization.hardware_scheduling.orders": ["slack_key"],
        "optimization.hardware_scheduling.one_place": ["sjf_gain"],
        "optimization.hardware_scheduling.separation": [
            "chunked_capacity",
            "best_split",
            "cache_bandwidth",
        ],
        "optimization.hardware_scheduling.device_placement": [
            "border_intensity",
            "decode_intensity",
        ],
    },
)
