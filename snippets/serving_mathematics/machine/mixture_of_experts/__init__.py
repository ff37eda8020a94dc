"""Mixture of experts: What do sparse models change?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "machine.mixture_of_experts.mixture_of_experts": ["compute_bound_tokens", "device_hours"],
        "machine.mixture_of_experts.expert_kernels": ["experts_s", "Mixture"],
        "machine.mixture_of_experts.expert_routing": [
            "touched_by_popularity",
            "experts_a_token",
            "random_counts",
            "skewed_counts",
            "busiest_device",
            "sent_bytes",
        ],
    },
)
