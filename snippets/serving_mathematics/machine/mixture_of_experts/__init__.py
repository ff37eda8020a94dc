"""Mixture of experts: What do sparse models change?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "machine.mixture_of_experts.mixture_of_experts": ["device_hours"],
        "machine.mixture_of_experts.expert_kernels": ["experts_s"],
        "machine.mixture_of_experts.expert_routing": [
            "touched_by_popularity",
            "experts_a_token",
            "skewed_counts",
            "busiest_device",
        ],
    },
)
