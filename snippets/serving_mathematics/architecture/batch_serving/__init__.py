"""Batch serving: How do I score ten million rows overnight, survive a crash, and finish on time?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "architecture.batch_serving.batch_serving": ["latest_finish_s", "best_shards"],
        "core.queues.list_scheduling": [
            "Schedule",
            "list_schedule",
            "lpt_schedule",
            "makespan_floor",
            "list_ratio",
            "lpt_ratio",
            "optimal_makespan",
        ],
        "architecture.batch_serving.checkpointing": [
            "young_interval_s",
            "daly_interval_s",
            "best_interval_s",
            "expected_completion_s",
            "simulate_completion",
        ],
        "architecture.batch_serving.crash_points": ["killed_at"],
        "architecture.batch_serving.executors": ["cluster_executor"],
        "architecture.batch_serving.shard_scorer": [
            "Manifest",
            "Shard",
            "write_atomically",
            "make_manifest",
            "open_job",
            "score_shard",
            "is_done",
            "exclusive",
            "score_rows",
            "read_scores",
            "exit_with_parent",
            "root_mean_square",
        ],
        "architecture.batch_serving.stragglers": [
            "Outcome",
            "run_with_copies",
            "mean_makespan",
            "simulate_makespan",
        ],
    },
)
