"""Predictions: How far can a plan be trusted?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "machine.predictions.predictions": ["padding"],
        "core.hardware.architectures": [
            "Attention",
            "FeedForward",
            "Architecture",
            "published_precision",
            "read_architecture",
        ],
        "core.hardware.benchmark_loops": [
            "Latencies",
            "waiting_steps_s",
            "interruptions_s",
            "loop_latencies",
            "fleet_latencies",
            "tokens_per_s_per_device",
        ],
        "core.hardware.run_reading": [
            "Run",
            "read_lines",
            "widths",
            "guessing",
            "fleet_split",
            "read_runs",
            "family_name",
        ],
        "core.hardware.calibration": [
            "Table",
            "tabulate",
            "predict_runs",
            "descend",
            "fit",
            "rate_per_device",
            "errors",
            "without_evidence",
            "accepted_without",
            "left_out",
            "kind_of",
            "groupings",
            "padding_by_kind",
            "score",
        ],
        "core.hardware.fronts": [
            "Front",
            "find_front",
            "front_constants",
            "steps_alone",
            "fit_front",
            "require_agreement",
            "front_rows",
        ],
        "machine.predictions.calibration_scores": ["deployment_name", "measure", "kept_error"],
        "machine.predictions.front_scores": [
            "latencies_of",
            "mean_front",
            "score_harness",
            "measure_fronts",
        ],
    },
)
