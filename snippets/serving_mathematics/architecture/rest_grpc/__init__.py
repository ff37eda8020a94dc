"""REST and gRPC: What do I gain with gRPC, on my payload?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "architecture.rest_grpc.rest_grpc": [
            "flights",
            "round_trips",
            "call_latency_s",
            "worthwhile_work_s",
        ],
        "core.classifiers.digits_classifier": [
            "Images",
            "Digits",
            "load_digits",
            "softmax",
            "Classifier",
            "cross_entropy_gradient",
            "train_classifier",
        ],
        "core.servers.inference_bodies": [
            "TensorHead",
            "PixelTensor",
            "InferRequest",
            "LogitTensor",
            "InferResponse",
            "ErrorAnswer",
            "read_body",
        ],
        "core.servers.rest_server": [
            "Limits",
            "BoundedBody",
            "create_app",
            "server_config",
            "listen",
            "serve",
        ],
        "architecture.rest_grpc.grpc_server": [
            "GrpcLimits",
            "messages",
            "read_pixels",
            "create_server",
            "serve_grpc",
        ],
        "architecture.rest_grpc.wire_format": [
            "varint",
            "field",
            "raw_floats",
            "request_protobuf",
            "request_json",
            "grpc_bytes",
            "base64_bytes",
            "most_rows",
        ],
        "architecture.rest_grpc.wire_record": ["predicted_ms"],
    },
)
