"""Batch or online: How much more does “now” cost than “by tomorrow”?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "intuition.batch_vs_online.price_of_now": ["cost_ratio", "shared_prices"],
        "intuition.batch_vs_online.deadline_scheduling": [
            "daily_profile",
            "smallest_fleet",
            "Backfill",
            "backfill",
        ],
        "intuition.batch_vs_online.freed_places": ["late_behind_batch"],
    },
)
