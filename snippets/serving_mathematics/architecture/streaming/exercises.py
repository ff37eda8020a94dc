"""Solutions of the exercises on streaming, each checked against a second way to the same number.

Assumes: what each function says.

Source: derived here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.architecture.streaming.streaming import stream_metrics
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_non_negative,
    require_positive,
    require_positive_integer,
    require_shape,
    require_work,
)

HINTS = {
    "tpot_of_bundles": (
        "The time after the first event produced the tokens of all later events, and only "
        "those. Divide it once by the number of later events and once by the number of their "
        "tokens."
    ),
    "longest_chunk": (
        "A step takes the streams' own time plus the chunk's. The chunk is the time that the "
        "promise leaves for it, times the prompt tokens a second."
    ),
    "unread_tokens": (
        "Token i exists if the client was still there δ before it was due, and is read if it "
        "was there when due. Leaving is exponential; add over the tokens, and let no time "
        "before the start count as a chance to leave."
    ),
}


def tpot_of_bundles(arrival_s: npt.ArrayLike, tokens: npt.ArrayLike) -> tuple[float, float]:
    """Mean gap between events, and time per token after the first event, of a stream whose events
    hold several tokens [s].

    arrival_s: when each event arrived [s], shape (n,), n ≥ 2. tokens: how many each held, positive
    integers, shape (n,). The tokens of the first event are as good as free. Raises ValueError on
    anything else.

    >>> tpot_of_bundles([0.5, 0.6, 0.7], tokens=[4, 4, 4])
    (0.1, 0.025)
    """
    times, counts = as_floats(arrival_s=arrival_s), as_floats(tokens=tokens)
    require(times.ndim == 1 and times.size >= 2, "arrival_s", "two times or more", times.shape)
    require_shape(times.shape, tokens=counts)
    require(np.all((counts >= 1) & (counts % 1 == 0)), "tokens", "positive integers", counts)
    metrics = stream_metrics(times)
    generating = metrics.e2e_s - metrics.ttft_s
    return round(metrics.tpot_s, 12), round(generating / float(counts[1:].sum()), 12)


def longest_chunk(longest_itl_s: float, step_s: float, prefill_per_s: float) -> int:
    """The most prompt tokens in a step that keeps the longest gap.

    longest_itl_s: L [s], above the step. step_s: ℓ, of the streams alone, non-negative [s].
    prefill_per_s: r, prompt tokens that the device computes a second. Raises ValueError outside
    these ranges, and when not one token fits.

    >>> longest_chunk(0.5, step_s=0.25, prefill_per_s=1002.0)
    250
    """
    step_s = require_non_negative(step_s=step_s)
    longest_itl_s, prefill_per_s = require_positive(
        longest_itl_s=longest_itl_s, prefill_per_s=prefill_per_s
    )
    tokens = math.floor((longest_itl_s - step_s) * prefill_per_s * (1 + 1e-12))
    least = step_s + 1 / prefill_per_s
    require(tokens >= 1, "longest_itl_s", f"at least {least:g} s", longest_itl_s)
    return tokens


@dataclass(frozen=True)
class Waste:
    """Mean tokens of one request: generated, and of these read by nobody."""

    generated: float
    unread: float


def unread_tokens(
    ttft_s: float, tpot_s: float, tokens: int, leave_rate: float, notice_s: float
) -> Waste:
    """What a model generates for clients that leave at any moment, when it stops a while after they
    have left.

    ttft_s: to the first token [s]. tpot_s: gap [s]. tokens: N ≥ 1. leave_rate: θ [1/s], the client
    leaves after an exponential time of mean 1/θ. notice_s: δ ≥ 0 until the model stops [s],
    infinity for a server that never notices. Token i is generated unless the client left before
    t_i − δ, and read unless it left before t_i. Raises ValueError outside these ranges.

    >>> waste = unread_tokens(0.5, 0.025, tokens=101, leave_rate=0.0, notice_s=math.inf)
    >>> waste.generated, waste.unread
    (101.0, 0.0)
    """
    notice_s = as_number(notice_s=notice_s)
    ttft_s, tpot_s, leave_rate = require_non_negative(
        ttft_s=ttft_s, tpot_s=tpot_s, leave_rate=leave_rate
    )
    tokens = require_positive_integer(tokens=tokens)
    require_work(tokens, tokens=tokens)
    require(notice_s >= 0, "notice_s", "non-negative", notice_s)
    due = ttft_s + tpot_s * np.arange(int(tokens))
    generated = float(np.exp(-leave_rate * np.maximum(0.0, due - notice_s)).sum())
    return Waste(generated, generated - float(np.exp(-leave_rate * due).sum()))


def example() -> SimpleNamespace:
    """Numbers quoted in the text: TTFT 0.5 s, TPOT 25 ms, 1,001 tokens."""
    never = unread_tokens(0.5, 0.025, 1001, 0.1, math.inf)
    soon = unread_tokens(0.5, 0.025, 1001, 0.1, 0.1)
    per_event_s, per_token_s = tpot_of_bundles([0.50, 0.56, 0.64, 0.70], [1, 4, 3, 4])
    return SimpleNamespace(
        board_event_ms=1e3 * per_event_s,
        board_token_ms=1e3 * per_token_s,
        pencil_tokens=longest_chunk(0.1, 0.025, 16_000.0),
        endless_unread_percent=100 * never.unread / never.generated,
        noticed_unread_percent=100 * soon.unread / soon.generated,
    )


def check_bundles() -> None:
    """Events of k tokens look k times as slow as the tokens are.

    Source: the tokens of each event spread evenly over the gap before it, and measured as tokens.
    """
    rng = np.random.default_rng(3)
    gaps, counts = rng.uniform(0.05, 0.2, 30), rng.integers(1, 6, 31)
    events = 0.4 + np.concatenate(([0.0], np.cumsum(gaps)))
    spread = [events[0]]
    for start, gap, count in zip(events, gaps, counts[1:], strict=False):
        spread += [start + gap * (i + 1) / count for i in range(count)]
    per_event, per_token = tpot_of_bundles(events, counts)
    checks.close("per event [s]", per_event, gaps.mean(), atol=1e-11)
    checks.close("per token [s]", per_token, stream_metrics(spread).tpot_s, atol=1e-11)


def check_longest_chunk() -> None:
    """With this chunk the longest gap is kept, and with one token more it is not.

    Source: ℓ + C/r at both; 100 ms, 25 ms and 16,010 tokens a second by hand.
    """
    checks.equal("by hand", longest_chunk(0.1, 0.025, 16_010.0), 1200)
    for longest_s, step_s, rate in ((0.05, 0.0205, 30_000.0), (0.2, 0.1, 777.0)):
        chunk = longest_chunk(longest_s, step_s, rate)
        for tokens, kept in ((chunk, True), (chunk + 1, False)):
            gap_s = step_s + tokens / rate
            checks.equal(f"{tokens} tokens", bool(gap_s <= longest_s + 1e-12), kept)


def check_unread_tokens() -> None:
    """Generated and unread tokens agree with clients that leave at random moments.

    Source: 20,000 simulated clients, standard errors from their spread.
    """
    two = unread_tokens(0.5, 1.0, 2, leave_rate=1.0, notice_s=1.0)  # due at 0.5 and 1.5 s
    checks.close("generated, by hand", two.generated, 1 + math.exp(-0.5), rtol=1e-12)
    checks.close("unread, by hand", two.unread, 1 - math.exp(-1.5), rtol=1e-12)
    rng = np.random.default_rng(5)
    due = 0.8 + 0.05 * np.arange(200)
    left = rng.exponential(1 / 0.2, 20_000)
    for notice in (0.0, 1.0, math.inf):
        waste = unread_tokens(0.8, 0.05, 200, 0.2, notice)
        generated = np.searchsorted(due, left + notice)
        unread = generated - np.searchsorted(due, left)
        for name, got, sample in (
            ("generated", waste.generated, generated),
            ("unread", waste.unread, unread),
        ):
            error = max(float(sample.std()) / math.sqrt(left.size), 1e-9)
            label = f"{name}, δ = {notice:g} s"
            checks.inside(label, (got - float(sample.mean())) / error, -3.0, 3.0, kind="simulation")


def check_bad_input_is_refused() -> None:
    """A single event, a promise that the streams alone already break, and a client's leaving that
    is noticed before it happens are errors.
    """
    checks.raises("one event", tpot_of_bundles, [0.5], [1], match="arrival_s must be two times")
    checks.raises("no room", longest_chunk, 0.1, 0.2, 1e3, match="longest_itl_s must be at least")
    told = "notice_s must be non-negative"
    checks.raises("before it", unread_tokens, 0.1, 0.1, 9, 0.1, -1.0, match=told)
