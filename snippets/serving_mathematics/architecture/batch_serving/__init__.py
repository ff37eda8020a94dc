"""Batch serving: How do I score ten million rows overnight, survive a crash, and finish on time?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "architecture.batch_serving.offline_engine": ["fed_share"],
        "architecture.batch_serving.batch_serving": [
            "list_schedule",
            "latest_finish_s",
            "best_shards",
        ],
        "architecture.batch_serving.checkpointing": ["young_interval_s"],
        "architecture.batch_serving.shard_files": [
            "Manifest",
            "Shard",
            "write_atomically",
            "make_manifest",
            "open_job",
            "score_shard",
            "is_done",
        ],
        "architecture.batch_serving.shard_scorer": [
            "exclusive",
            "score_rows",
            "read_scores",
            "exit_with_parent",
            "root_mean_square",
        ],
    },
)
