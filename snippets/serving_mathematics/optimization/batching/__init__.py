"""Batching: Static, dynamic or continuous batching?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "optimization.batching.batching": [
            "batch_rate",
            "largest_batch",
            "static_efficiency",
            "greedy_latency",
            "form_batches",
        ],
        "core.batching.continuous_batching": [
            "Workload",
            "StepTable",
            "Engine",
            "Served",
            "latencies_s",
            "chat_workload",
            "simulate_steps",
        ],
        "core.batching.event_skipping": ["simulate", "saturated_rate"],
        "core.batching.dynamic_batcher": [
            "BatcherFull",
            "BatcherClosed",
            "BatchFailed",
            "DynamicBatcher",
            "in_thread",
        ],
        "core.classifiers.onnx_latency_measurement": [
            "perceptron",
            "runner",
            "batch_times_ms",
            "drive_callers",
        ],
        "engine.batched_steps": ["decode_steps_s"],
        "optimization.batching.batching_policies": ["padded_batch_s"],
        "optimization.batching.latency_fit": ["LineFit", "fit_line"],
    },
)
