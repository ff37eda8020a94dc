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
            "dispersion_mean_work",
        ],
        "capacity.arrival_rates.arrival_models": [
            "switching_generator",
            "mmpp_mean_rate",
            "mmpp_dispersion",
            "mmpp_gap_cv",
            "mmpp_mean_time",
            "modulated_arrivals",
            "switching_edges",
            "batch_dispersion",
        ],
        "capacity.arrival_rates.arrival_standin": [
            "RateSignal",
            "signal_phases",
            "signal_dispersion",
            "signal_gap_cv",
            "fit_rate_signal",
            "signal_arrivals",
            "replay_arrivals",
            "draw_tokens",
        ],
        "capacity.arrival_rates.arrival_trace": [
            "Trace",
            "parse_trace",
            "load_trace",
            "TraceStatistics",
            "trace_statistics",
            "token_dispersion",
            "read_statistics",
        ],
        "capacity.arrival_rates.daily_cycle": [
            "thinned_arrivals",
            "peak_lag",
            "busy_mean",
            "peak_busy",
        ],
    },
)
