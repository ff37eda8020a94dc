"""Inference optimization: batching, caching, quantization, distillation and scheduling."""
