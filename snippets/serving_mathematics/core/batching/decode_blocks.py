"""Memory of sequences that decode together, counted without looking at them one by one.

A sequence that holds e + t + 1 tokens in step t has ⌊(e + t)/B⌋ + 1 blocks of B tokens. The sum
over all needs only how many there are of each residue e mod B, and that says in which step a given
number of blocks runs out.

Source: Kwon et al. (2023) for blocks that are taken when the last one is full.
"""

from __future__ import annotations

from serving_mathematics.support.require import require_positive_integer


class DecodeBlocks:
    """Blocks of those that decode, in the next step. Steps are counted from some moment on, and
    `now` is how many are over.

    block_tokens: B, tokens in a block. Raises ValueError unless it is a positive integer.

    >>> held = DecodeBlocks(block_tokens=4)
    >>> held.count(kept=6, end=3, now=0, sign=1)  # 3 tokens now, 6 when step 3 ends
    >>> held.filled, held.lasting(9, free=1, batch=1, now=0)  # the 9th token needs a third block
    (1, 5)
    """

    def __init__(self, block_tokens: int) -> None:
        """Nobody decodes."""
        self.block: int = require_positive_integer(block_tokens=block_tokens)
        self.residues = [0] * self.block  # how many of those that decode have each e mod B
        self.filled = 0  # their blocks in the next step

    def count(self, kept: int, end: int, now: int, sign: int, shared: int = 0) -> None:
        """Count a sequence in, or out by the sign −1, that holds so many tokens when a step ends.

        shared: its first blocks, which are counted elsewhere."""
        tokens = kept - end - 1
        self.filled += sign * ((tokens + now + 1) // self.block + 1 - shared)
        self.residues[tokens % self.block] += sign

    def lasting(self, k: int, free: int, batch: int, now: int) -> int:
        """The largest number of steps up to k for which free blocks last, at least 1.

        batch: how many decode."""
        if not batch:
            return k
        periods, free = divmod(free, batch)  # B steps take a block for each
        steps = 1 + periods * self.block
        while steps < k:
            free -= self.residues[self.block - 1 - (now + steps) % self.block]
            if free < 0:
                return steps
            steps += 1
        return k

    def before(self, now: int) -> int:
        """Their blocks in the step that was the last."""
        return self.filled - self.residues[-(now + 1) % self.block]

    def passed(self, k: int, batch: int, now: int) -> None:
        """After so many steps more; now: before them."""
        periods, rest = divmod(k, self.block)
        self.filled += periods * batch
        for step in range(now + 2, now + 2 + rest):
            self.filled += self.residues[-step % self.block]
