"""Step time: What does one step cost?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "core.hardware.step_time": ["roof_s", "touched_experts", "Parts", "step_parts"],
        "machine.step_time.speculative_decoding": ["break_even_tokens"],
        "machine.step_time.kernel_times": ["attained_share", "least_for_share"],
        "machine.step_time.more_bandwidth": ["bandwidth_gain"],
    },
)
