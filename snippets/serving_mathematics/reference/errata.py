"""The arithmetic of errata that belong to no chapter: looks at a test, chips, and a restart.

Looking k times at a test at level α errs with probability 1 − (1 − α)^k only if the looks are
independent; looks at growing samples share their data, and err less. A model of N parameters in b
bits takes Nb/8 bytes, and ⌈bytes/memory⌉ chips before any cache. A request that is preempted while
its prompt is half read still has the rest of its prompt to read.

Source: Armitage, McPherson and Rowe (1969) by way of `repeated_looks`; jax-ml/scaling-book,
applied-inference.md; microsoft/vidur, request.py.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

from serving_mathematics.architecture.shadow_canary.repeated_looks import crossing_probability
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_in,
    require_positive,
    require_positive_integer,
)

TPU_V5E_BYTES = 16e9  # [B] as the scaling book counts it
LLAMA_70B = 70e9  # parameters, as the scaling book rounds them
CONTEXT = 8192  # tokens of a sequence of the same table
SLICES = {  # of the same table, by bits: chips, cache [B/token], sequences as printed
    16: (16, 324e3, 43),
    8: (8, 162e3, 52),
    4: (4, 81e3, 67),
}


def independent_looks(looks: int, alpha: float = 0.05) -> float:
    """Probability that one of k independent tests at level α errs, 1 − (1 − α)^k.

    looks: k ≥ 1. alpha: in (0, 1). It is an upper bound for repeated looks at one growing sample.
    Raises ValueError outside these ranges.

    >>> round(independent_looks(2), 4)
    0.0975
    """
    looks = require_positive_integer(looks=looks)
    alpha = require_in("(0, 1)", alpha=alpha)
    return -math.expm1(looks * math.log1p(-alpha))


def chips_for_weights(parameters: float, bits: float, chip_bytes: float) -> float:
    """How many chips' memory the weights fill, Nb/8 over the memory of one.

    parameters: N. bits: b of a weight. chip_bytes: memory of a chip [B]. Raises ValueError unless
    all are positive and finite.

    >>> chips_for_weights(parameters=70e9, bits=16, chip_bytes=16e9)
    8.75
    """
    parameters, bits, chip_bytes = require_positive(
        parameters=parameters, bits=bits, chip_bytes=chip_bytes
    )
    return parameters * bits / 8 / chip_bytes


def after_restart(prompt: int, output: int, processed: int) -> tuple[int, int]:
    """Tokens to read and to generate after a preemption that forgets the cache.

    prompt, output: of the request, positive. processed: read and generated so far, at most their
    sum. What was generated is read again, and whatever of the prompt was not read is still prompt.
    Raises ValueError outside these ranges.

    >>> after_restart(prompt=1000, output=100, processed=512)
    (1000, 100)
    >>> after_restart(prompt=1000, output=100, processed=1040)
    (1040, 60)
    """
    processed = as_number(processed=processed)
    prompt, output = require_positive_integer(prompt=prompt, output=output)
    total = prompt + output
    fine = 0 <= processed <= total and processed % 1 == 0
    require(fine, "processed", f"a whole number in [0, {total}]", processed)
    read = max(prompt, processed)
    return int(read), int(total - read)


def _fitting(bits: int) -> tuple[float, int]:
    """What weights leave of a slice's memory [B], and how many sequences that holds."""
    chips, cache, _ = SLICES[bits]
    spare = chips * TPU_V5E_BYTES - LLAMA_70B * bits / 8
    return spare, math.floor(spare / (cache * CONTEXT))


def _published_restart(prompt: int, output: int, processed: int) -> tuple[int, int]:
    """What `Request.restart` of the simulator sets: everything not yet processed is generated."""
    return processed, prompt + output - processed


def example() -> SimpleNamespace:
    """Numbers quoted on the page."""
    single = 1.959964  # 5% in two tails
    int8_sequences, int4_sequences = _fitting(8)[1], _fitting(4)[1]
    _, generated = _published_restart(1000, 100, 512)
    return SimpleNamespace(
        looks_10_independent_percent=100 * independent_looks(10),
        looks_10_percent=100 * crossing_probability([single] * 10),
        int4_gb=LLAMA_70B * 4 / 8 / 1e9,
        int4_chips=chips_for_weights(LLAMA_70B, 4, TPU_V5E_BYTES),
        int4_sequences=int4_sequences,
        int8_sequences=int8_sequences,
        printed_int8_sequences=SLICES[8][2],
        printed_sequences=SLICES[4][2],
        restart_generated=generated,
        restart_right=after_restart(1000, 100, 512)[1],
    )


def check_looks_are_not_independent() -> None:
    """Ten looks at a growing sample err in 19.3% of tests, not in 40.1%, and three in 10.7%, not in
    14.3%.

    Source: Armitage, McPherson and Rowe (1969), table 2: 0.107 and 0.193; 1 − 0.95^k by hand.
    """
    for looks, repeated, independent in ((3, 0.107, 0.142625), (10, 0.193, 0.401263)):
        got = crossing_probability([1.959964] * looks)
        checks.close(f"{looks} looks", got, repeated, atol=5e-4, kind="published")
        checks.close(f"{looks} independent", independent_looks(looks), independent, atol=5e-7)
    one = crossing_probability([1.959964])
    checks.close("one look", independent_looks(1), one, atol=1e-6)


def check_chips_by_hand() -> None:
    """Seventy billion weights fill 8.75 chips of 16 GB in 16 bits, 4.375 in 8 and 2.19 in 4.

    Source: the scaling book's own rule and its rows for bf16 and int8; 35/16 by hand for int4.
    """
    for bits, chips in ((16, 8.75), (8, 4.375)):
        got = chips_for_weights(LLAMA_70B, bits, TPU_V5E_BYTES)
        checks.close(f"{bits} bits", got, chips, rtol=1e-12, kind="published")
    checks.close("4 bits", chips_for_weights(LLAMA_70B, 4, TPU_V5E_BYTES), 2.1875, rtol=1e-12)


def check_a_restart_loses_no_prompt() -> None:
    """Whatever was processed, prompt and answer together stay what they were, and no token of the
    prompt is ever generated.

    Source: counting; every number of processed tokens of a request of 7 and 5.
    """
    for processed in range(13):
        read, generated = after_restart(7, 5, processed)
        checks.equal(f"{processed} processed: tokens", read + generated, 12)
        checks.holds(f"{processed} processed: prompt is read", read >= 7, got=read)


def check_sequences_by_hand() -> None:
    """Each of the three slices has room for 43 sequences: 16 chips in 116 GB beside 140 GB of
    weights, as the table has it, eight in 58 GB beside 70 and four in 29 GB beside 35.

    Source: chips of 16 GB less the weights, over 8,192 tokens of 324, 162 and 81 kB, by long
    division; the row for bf16.
    """
    numbers = example()
    for bits, spare_gb in ((16, 116), (8, 58), (4, 29)):
        spare, fitting = _fitting(bits)
        checks.equal(f"left in {bits} bits [GB]", spare / 1e9, float(spare_gb))
        checks.equal(f"in {spare_gb} GB", fitting, 43)
    checks.equal("16 bits, as printed", SLICES[16][2], 43, kind="published")
    wanted = numbers.printed_sequences / numbers.int4_sequences
    checks.inside("as many as the table has, over those that fit", wanted, 1.5, 1.6)


def check_where_the_restart_goes_wrong() -> None:
    """What the simulator sets is right for a request that generates, and turns prompt into answer
    for one that reads.

    Source: the two rules side by side, every number of processed tokens of a request of 1,000 and
    100.
    """
    wrong = [
        k for k in range(1101) if _published_restart(1000, 100, k) != after_restart(1000, 100, k)
    ]
    checks.equal("first and last wrong", [wrong[0], wrong[-1]], [0, 999])
    checks.equal("at 512", _published_restart(1000, 100, 512), (512, 588))
