"""Quantization: How many bits can I drop before it shows?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "optimization.quantization.quantization": ["Quantized", "quantize", "integer_product"],
        "optimization.quantization.bits_and_noise": [
            "sqnr_db",
            "full_scale_sqnr_db",
            "bits_per_weight",
        ],
        "optimization.quantization.block_formats": ["block_rounded", "nvfp4"],
        "optimization.quantization.outlier_channels": ["smoothing_factors", "smooth", "bits_left"],
        "optimization.quantization.paired_accuracy": ["Change", "paired_change"],
    },
)
