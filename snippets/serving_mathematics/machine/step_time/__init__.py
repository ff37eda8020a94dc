"""Step time: What does one step cost?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "core.hardware.step_time": [
            "Constants",
            "constants_of",
            "matrix_floor_s",
            "attention_floor_s",
            "expert_floor_s",
            "feed_forward_floor_s",
            "layers_floor_s",
            "touched_experts",
            "Work",
            "count_work",
            "by_backend",
            "Parts",
            "roof_s",
            "ring_hops",
            "message_s",
            "busiest_of",
            "exchange_s",
            "step_parts",
            "decode_step_s",
            "two_batches_s",
            "prompt_s",
        ],
        "core.hardware.systems": ["System", "read_system"],
        "core.hardware.step_terms": [
            "attention_over_weights",
            "roofline_parts",
            "terms_added",
            "regimes",
        ],
        "core.hardware.guessed_steps": ["guessed_step_s", "guessed_prompt_s"],
        "machine.step_time.guesses": ["break_even_tokens"],
        "machine.step_time.kernel_record": ["fastest", "matrix_roof", "cells", "by_time"],
        "machine.step_time.kernel_times": ["attained_share", "least_for_share", "fit_kernels"],
    },
)
