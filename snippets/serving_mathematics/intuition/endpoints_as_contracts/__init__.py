"""Endpoints as contracts: Can I deploy this without breaking a caller?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "intuition.endpoints_as_contracts.chat_contract": [
            "ChatContract",
            "chat_violations",
            "answer_changes",
            "may_go_out",
            "next_version",
            "read_contract",
        ],
        "intuition.endpoints_as_contracts.event_streams": ["stream_errors"],
        "intuition.endpoints_as_contracts.stale_artifacts": [
            "stale_after",
            "lineage_fingerprints",
        ],
    },
)
