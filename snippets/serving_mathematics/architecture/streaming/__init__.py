"""Streaming: What does the user feel – first token, rhythm, or total?"""

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
        "architecture.streaming.stalls": ["gaps_beside_prompt_s"],
        "architecture.streaming.event_stream": [
            "StreamError",
            "Event",
            "format_event",
            "EventStreamParser",
            "TokenReader",
        ],
    },
)
