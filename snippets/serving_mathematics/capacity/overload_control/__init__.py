"""Overload control: When demand exceeds capacity, how do I keep serving?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "capacity.overload_control.overload_control": [
            "blocking_probability",
            "fifo_goodput",
            "peak_load",
            "bounded_goodput",
            "best_capacity",
            "simulate_goodput",
        ],
        "core.servers.bounded_server": [
            "Refusal",
            "Limits",
            "Request",
            "parse_head",
            "header_number",
            "response",
            "open_files_for",
            "BoundedServer",
            "busy",
            "serve",
        ],
        "capacity.overload_control.outage_recovery": ["late_after_outage_s", "simulate_outage"],
        "capacity.overload_control.overload_measurement": ["Answer", "drive"],
        "capacity.overload_control.retry_budgets": [
            "throttle_probability",
            "throttled_rate",
            "retry_tokens",
            "retries_allowed",
            "tolerated_failures",
        ],
        "capacity.overload_control.retry_storms": [
            "late_probability",
            "retry_amplification",
            "FixedPoint",
            "fixed_points",
            "metastable_band",
        ],
        "capacity.overload_control.shedding": [
            "Patience",
            "erlang_a",
            "guardrail",
            "wait_limit",
            "codel_drop_times",
        ],
        "capacity.overload_control.token_admission": ["Admission", "admit", "in_time"],
    },
)
