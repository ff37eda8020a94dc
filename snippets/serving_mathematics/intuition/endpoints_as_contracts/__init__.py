"""Endpoints as contracts: Can I deploy this without breaking a caller?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "intuition.endpoints_as_contracts.endpoints_as_contracts": [
            "Tensor",
            "Contract",
            "includes",
            "accepts",
            "violations",
            "can_replace",
            "next_version",
        ],
        "intuition.endpoints_as_contracts.chat_contract": [
            "ChatContract",
            "chat_violations",
            "answer_changes",
            "may_go_out",
            "stream_errors",
        ],
        "intuition.endpoints_as_contracts.inference_protocol": [
            "element_count",
            "raw_bytes",
            "fits",
            "RequestedOutput",
            "TensorData",
            "InferenceRequest",
            "InferenceResponse",
            "errors_of",
            "tensor_errors",
            "request_errors",
            "response_errors",
            "status_of",
        ],
        "intuition.endpoints_as_contracts.lineage": [
            "topological_order",
            "ancestors",
            "stale_after",
            "weighted_checksum",
            "fingerprint",
            "lineage_fingerprints",
            "birthday_bound",
        ],
    },
)
