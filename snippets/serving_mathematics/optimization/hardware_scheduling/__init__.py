"""Hardware scheduling: Which request runs next, on which device, prefill or decode?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "core.queues.size_scheduler": ["simulate_responses", "noisy_predictions"],
        "core.batching.admission_order": ["Ordered", "gap_quantile", "serve_in_order"],
        "core.queues.size_based": [
            "Sizes",
            "response_by_size",
            "mean_response",
            "predicted_sjf_mean",
        ],
        "optimization.hardware_scheduling.device_placement": [
            "border_intensity",
            "decode_intensity",
        ],
        "optimization.hardware_scheduling.disaggregation": [
            "prefill_ttft_s",
            "pipeline_ttft_s",
            "tensor_ttft_s",
            "chunked_capacity",
            "best_split",
            "cache_bandwidth",
        ],
        "optimization.hardware_scheduling.slice_packing": [
            "Profile",
            "first_fit",
            "ffd_bound",
            "fewest_devices",
            "place_instances",
            "fewest_gpus",
        ],
    },
)
