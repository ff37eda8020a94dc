""" batch the work, cache it, compute it in fewer bits, with a smaller model, or in a better order.: Inference optimization: batching, caching, quantization, distillation and scheduling."""
