"""Autoscaling: How many replicas, when, and what happens while they start?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "core.fleet.scaling_rules": [
            "hpa_replicas",
            "fixed",
            "hpa",
            "hpa_waiting",
            "hpa_latency",
            "planned",
            "largest",
        ],
        "capacity.autoscaling.autoscaler_simulation": ["Run", "Outcome", "simulate", "outcome"],
        "capacity.autoscaling.cold_starts": ["cold_start", "setup_response_time"],
        "capacity.autoscaling.engine_days": ["engine_policy", "engine_day"],
        "capacity.autoscaling.engine_fleet": ["place_speeds", "simulate_engines"],
        "capacity.autoscaling.engine_signals": ["Gauges", "engine_gauges", "load_at_waiting"],
        "capacity.autoscaling.policy_comparison": [
            "daily_rates",
            "poisson_arrivals",
            "measured_day",
            "hours_for",
        ],
        "capacity.autoscaling.server_staffing": [
            "halfin_whitt",
            "safety_factor",
            "square_root_servers",
            "min_servers",
        ],
        "capacity.autoscaling.spare_replicas": ["warm_replicas", "scale_to_zero"],
    },
)
