"""What more bandwidth buys: the share of a step that reads, and nothing else, gets shorter.

Where a share r of a step reads and the bandwidth grows k times, the step is

    1 / (1 - r + r / k)

times as fast. An H200 multiplies and sends like an H100 and reads 1.43 times as fast, so runs of
one deployment on both are a trial of it. A dense model gains what the formula says. A mixture with
experts in four bits gains next to nothing, also where the step model says that it mostly reads:
what is counted as reading there waits for something else.

Assumes: floors, messages and the host's work as they were; no more sequences in the larger memory,
but in `_full_gain`.

Source: the published runs of `step_terms` that differ in the device alone, H100 or H200.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serving_mathematics.core.hardware.calibration import KERNELS
from serving_mathematics.core.hardware.catalogue import find_system
from serving_mathematics.core.hardware.deployments import cache_room_bytes, sequence_bytes
from serving_mathematics.core.hardware.step_terms import (
    engine_runs,
    roofline_parts,
)
from serving_mathematics.core.hardware.step_time import (
    FITTED,
    Array,
    count_work,
    decode_step_s,
    step_parts,
)
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.require import as_floats, require, require_positive

FULL_TOKENS = 4000  # of each sequence, where a full engine's tokens are compared


def bandwidth_gain(reading_share: ArrayLike, faster: float) -> Array:
    """How many times as fast a step becomes with so many times the bandwidth.

    reading_share: of the step's time, in [0, 1]. faster: > 0. Raises ValueError outside.

    >>> bandwidth_gain([0.0, 0.5, 1.0], faster=2.0).round(3)
    array([1.   , 1.333, 2.   ])
    """
    share = as_floats(reading_share=reading_share)
    inside = bool(np.all((share >= 0) & (share <= 1)))
    require(inside, "reading_share", "in [0, 1]", reading_share)
    faster = require_positive(faster=faster)
    return np.asarray(1 / (1 - share + share / faster), dtype=float)


@cache
def _pairs() -> tuple[Array, Array, NDArray[np.bool_]]:
    """Runs on an H100 and an H200 that differ in nothing else: the share of a token's time that
    reads on the H100, how many times as fast the H200 was, and whether the model has experts."""
    table, added, sparse = engine_runs()
    work = table.engines
    parts = step_parts(work, KERNELS, work.running, work.context)
    share = roofline_parts(parts) / work.accepted / added["prompts of others"]
    alike: dict[tuple[object, ...], dict[str, list[int]]] = {}
    for row, run in enumerate(table.runs):
        one = run.answers
        known = one.system.name in ("h100_sxm", "h200_sxm")
        if not known or work.concurrency[row] > work.room[row]:
            continue
        key = (
            *(one.architecture.name, run.release),
            *(one.backend, one.precision, one.tensor, one.attention_data, one.expert, one.pipeline),
            *(one.draft_tokens, one.concurrency, one.mean_input_tokens, one.mean_output_tokens),
        )
        alike.setdefault(key, {}).setdefault(one.system.name, []).append(row)
    found = []
    for rows in alike.values():
        if len(rows) == 2:
            slow, fast = (np.median(table.per_token_s[rows[n]]) for n in ("h100_sxm", "h200_sxm"))
            first = rows["h100_sxm"][0]
            found.append((share[first], slow / fast, sparse[first]))
    shares, gains, kinds = np.array(found, dtype=float).T
    return shares, gains, kinds > 0


@cache
def _faster() -> float:
    """Bandwidth of an H200 over that of an H100, by their data sheets."""
    new, old = find_system("h200"), find_system("h100")
    return new.bandwidth_bytes_per_s / old.bandwidth_bytes_per_s


def example() -> SimpleNamespace:
    """Numbers of the page."""
    shares, gains, sparse = _pairs()
    told = bandwidth_gain(shares, _faster())
    return SimpleNamespace(
        pairs=shares.size,
        bandwidth_more=_faster() - 1,
        dense_gain=float(np.median(gains[~sparse])) - 1,
        sparse_gain=float(np.median(gains[sparse])) - 1,
        sparse_told=float(np.median(told[sparse])) - 1,
        gain_error=float(np.median(np.abs(told / gains - 1)[~sparse])),
        full_tokens=FULL_TOKENS,
        full_gain=_full_gain(FULL_TOKENS),
    )


def _full_gain(tokens: float) -> float:
    """Tokens a second of the chat machine's model on an H200 over those on an H100, each with as
    many sequences of so many tokens as its memory holds, while they decode."""
    rates = []
    for name in ("h100", "h200"):
        one = replace(CHAT.deployment, system=find_system(name))
        fit = int(cache_room_bytes(one) / sequence_bytes(one, tokens))
        step_s = decode_step_s(count_work([one]), FITTED, np.array([fit]), np.array([tokens]))
        rates.append(fit / float(step_s[0]))
    return rates[1] / rates[0]


def figure_bandwidth_bought(figure: Figure) -> None:
    """With more bandwidth, a dense model gained what the formula says; a mixture, next to nothing.

    Each point is one deployment, measured on an H100 and on an H200; the line is the formula.

    Alt: Scatter plot of how many times as fast an H200 was against the share of a token's time that
    reads, from none to all. Points of the dense model lie along a line that rises to the ratio of
    the bandwidths. Nearly all points of the mixture lie in a flat band just above one, whatever the
    share.
    """
    axes = figure.subplots()
    shares, gains, sparse = _pairs()
    axes.plot(shares[~sparse], gains[~sparse], ".", color="C0", label="Llama-3.1-70B, 8 bits")
    axes.plot(shares[sparse], gains[sparse], ".", color="C1", label="gpt-oss-120b, 4 bits")
    line = np.linspace(0, 1, 50)
    axes.plot(line, bandwidth_gain(line, _faster()), "-", color="C3", linewidth=1.2)
    axes.legend(loc="upper left")
    axes.set(
        xlim=(0, 1),
        ylim=(0.8, 2.4),
        xlabel="share of a token's time that reads, on an H100",
        ylabel="H200: times as fast",
    )


def check_bandwidth_buys_what_reads() -> None:
    """For the dense model, deployments that spend most of a step reading gain more than those that
    spend least, even if these shares are up to a fifth smaller or larger than computed.

    Source: published runs of one deployment on H100 and on H200; thirds of the pairs by their
    share, drawn with shares that are off by up to a fifth.
    """
    shares, gains, sparse = _pairs()
    shares, gains = shares[~sparse], gains[~sparse]
    rng = np.random.default_rng(8)
    turned = []
    for _ in range(20):
        told = shares * rng.uniform(0.8, 1.2, shares.size)
        low, high = np.quantile(told, [1 / 3, 2 / 3])
        turned.append(np.median(gains[told >= high]) / np.median(gains[told <= low]))
    checks.holds("upper third over lower, at worst", min(turned) > 1.0, got=min(turned))


def check_a_mixture_gains_less_than_told() -> None:
    """The mixture gains a third of what the formula says, so a computed share of reading does not
    prove that a kernel waits for memory.

    Source: published runs of gpt-oss-120b in four bits on H100 and on H200, all of one engine.
    """
    found = example()
    share = found.sparse_gain / found.sparse_told
    checks.inside("gain, of what is told", share, 0.28, 0.38)


def check_gain_is_that_of_the_pairs() -> None:
    """For the dense model, the formula is within a few percent of the measured gain, in the median.

    Source: published runs of one deployment on H100 and on H200.
    """
    checks.close("median error", example().gain_error, 0.02, atol=0.02, kind="measured")


def check_a_full_engine_gains_more() -> None:
    """With memory full of contexts of 4,000 tokens or more, the chat machine's model writes at
    least 1.5 times as many tokens a second on an H200 as on an H100, because twice as many
    sequences fit and a byte is read faster.

    Source: bytes by hand: what 0.9 of each memory leaves beside the weights, over the bandwidth.
    """
    for tokens in (4000.0, 8000.0, 32_000.0):
        checks.inside(f"{tokens:,.0f} tokens", _full_gain(tokens), 1.5, 1.7)
    room = [(0.9 * gib - 4) * 2**30 - 2 * 8_029_995_008 for gib in (80, 141e9 / 2**30)]
    read = [2 * 8_029_995_008 + own for own in room]
    by_hand = room[1] / room[0] * (read[0] / 3.35e12) / (read[1] / 4.8e12)
    checks.close("32,000 tokens, by bytes", _full_gain(32_000.0), by_hand, rtol=0.1)
