"""REST and gRPC: What do I gain with gRPC, on my payload?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "architecture.rest_grpc.rest_grpc": [
            "flights",
            "CallParts",
            "call_parts",
            "window_to_fill",
        ],
    },
)
