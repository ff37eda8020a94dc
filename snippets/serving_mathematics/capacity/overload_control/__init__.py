"""Overload control: When demand exceeds capacity, how do I keep serving?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "capacity.overload_control.adaptive": ["gradient_limit"],
        "capacity.overload_control.limits": ["InTime", "queue_room"],
        "capacity.overload_control.overload_control": ["fifo_goodput", "bounded_goodput"],
        "capacity.overload_control.storms": [
            "budgeted_retry",
            "retry_amplification",
            "storm_band",
        ],
    },
)
