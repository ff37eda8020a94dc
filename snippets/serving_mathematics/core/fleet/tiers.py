"""Where prefixes lie that the device has no room for: host memory, disk, a store for all.

What a request leaves behind is written to every tier, which keeps what was used last. Blocks that
the device lacks and a tier has are loaded in the step that admits the request, and cost their time
there instead of being computed.

Assumes: writing costs nothing that anybody waits for; loading is not hidden behind other work.

Source: Qin et al. (2025), Mooncake, section 3.2, for a store below the devices; LMCache and
SGLang's HiCache, documentation, for tiers that are written through.
"""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence
from dataclasses import dataclass

from serving_mathematics.core.batching.continuous_batching import TICK_S
from serving_mathematics.core.fleet.block_cache import BlockCache
from serving_mathematics.support.require import (
    require_positive,
    require_positive_integer,
    widen_fields,
)


@dataclass(frozen=True)
class Tier:
    """A place for prefixes below the device. Raises ValueError on one without size or bandwidth.

    blocks: that it holds. block_bytes: of one, on all devices of an engine [B]. bytes_per_s: at
    which they come back [B/s]. for_all: whether the engines of the fleet share it.

    >>> Tier(blocks=1000, block_bytes=2e6, bytes_per_s=20e9).block_s
    0.0001
    """

    blocks: int
    block_bytes: float
    bytes_per_s: float
    for_all: bool = False

    def __post_init__(self) -> None:
        """Refuse what holds nothing or brings nothing back."""
        widen_fields(self)
        require_positive_integer(blocks=self.blocks)
        require_positive(block_bytes=self.block_bytes, bytes_per_s=self.bytes_per_s)

    @property
    def block_s(self) -> float:
        """Time to load one block [s]."""
        return self.block_bytes / self.bytes_per_s


class LowerTiers:
    """The tiers of one engine, the fastest first.

    tiers: each with the cache that says what it keeps. loaded: a column for each, in which a
    request's tokens are counted that came from there. block_tokens: of a block.
    """

    def __init__(
        self,
        tiers: Sequence[tuple[Tier, BlockCache]],
        loaded: Sequence[MutableSequence[int]],
        block_tokens: int,
    ) -> None:
        """What is kept is what the caches keep."""
        self.tiers = [(kept, tier.blocks, round(tier.block_s / TICK_S)) for tier, kept in tiers]
        self.loaded, self.block_tokens = loaded, block_tokens

    def find(self, chain: int, depth: int, found: int, most: int, request: int) -> tuple[int, int]:
        """Blocks of a request's way that are cached somewhere, when the device has some, at most so
        many; and the time to load the others, in ticks."""
        ticks = 0
        for (kept, _, block_ticks), loaded in zip(self.tiers, self.loaded, strict=True):
            deeper = min(kept.look(chain, depth)[1], most)
            if deeper > found:
                ticks += (deeper - found) * block_ticks
                loaded[request] += (deeper - found) * self.block_tokens
                found = deeper
        return found, ticks

    def write(self, chain: int, depth: int, answer: int, answer_depth: int) -> None:
        """A request left its way and its answer behind."""
        for kept, blocks, _ in self.tiers:
            kept.hold(chain, depth)
            kept.release(chain, depth, answer, answer_depth)
            kept.shrink(kept.resident - blocks)
