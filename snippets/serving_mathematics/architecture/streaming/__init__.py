"""Streaming: What does the user feel - first token, rhythm, or total?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "architecture.streaming.streaming": [
            "StreamMetrics",
            "stream_metrics",
            "end_to_end_s",
            "TpotConventions",
            "tpot_conventions",
        ],
        "core.servers.http_connections": ["PunctualProtocol"],
        "architecture.streaming.event_stream": [
            "StreamError",
            "Event",
            "format_event",
            "EventStreamParser",
            "TokenReader",
        ],
        "architecture.streaming.playout_buffer": [
            "reading_gap_s",
            "read_times_s",
            "smallest_start_delay_s",
        ],
        "architecture.streaming.prefill_interference": [
            "gaps_during_prefill_s",
            "mean_itl_s",
            "chunk_window",
            "simulate_itl_s",
        ],
        "architecture.streaming.token_server": [
            "Limits",
            "Generation",
            "Refusal",
            "parse_generation",
            "read_body",
            "TokenStream",
            "create_app",
            "paced",
            "serving",
        ],
        "architecture.streaming.token_stream_measurement": [
            "Reader",
            "TimedStream",
            "timed_stream",
        ],
    },
)
