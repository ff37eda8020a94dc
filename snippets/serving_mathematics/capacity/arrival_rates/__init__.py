"""Arrival rates: Is my traffic Poisson, and does it matter?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "capacity.arrival_rates.arrival_rates": [
            "gap_cv",
            "window_counts",
            "dispersion_index",
            "dispersion_p_value",
            "chi_square_tail",
        ],
        "capacity.arrival_rates.arrival_trace": [
            "TraceStatistics",
            "trace_statistics",
            "token_dispersion",
            "read_statistics",
        ],
        "capacity.arrival_rates.real_hour": ["peak_over_mean", "work_by_window"],
    },
)
