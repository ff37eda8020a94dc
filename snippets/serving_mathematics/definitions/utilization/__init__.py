"""Utilization: How hot may I run?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "core.machines.token_sharing": ["step_line", "share_tokens"],
        "core.queues.erlang": ["erlang_c", "mean_wait", "utilization", "wait_exceeds"],
        "definitions.utilization.engine_under_load": ["load_limit"],
        "definitions.utilization.token_load": ["token_load", "answer_ceiling"],
    },
)
