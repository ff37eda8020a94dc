"""Caching: How much memory does the cache need, and what hit rate does it buy?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "optimization.caching.caching": [
            "kv_bytes_per_token",
            "latent_bytes_per_token",
            "sequence_bytes",
            "how_many_fit",
        ],
        "optimization.caching.cache_replacement": [
            "zipf",
            "characteristic_time",
            "hit_ratio",
            "simulate_hits",
        ],
        "optimization.caching.kept_sessions": ["lifetime", "found_share"],
        "optimization.caching.paged_memory": ["paged_use"],
        "optimization.caching.prefix_cache": ["block_keys", "PrefixCache"],
    },
)
