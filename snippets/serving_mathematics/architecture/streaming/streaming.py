"""What a stream of tokens feels like: time to first token, gaps between tokens, total, and three
incompatible ways to call one number “time per output token”.

Token i of N arrives t_i after the request was sent. TTFT = t_1, E2E = t_N, ITL_i = t_i − t_{i−1},
and TPOT is the mean of the N − 1 gaps, so that E2E = TTFT + (N − 1)·TPOT exactly.

Assumes: times are taken at the client, from the moment of sending; one entry is one token, not one
network packet with several.

Source: vLLM, benchmarks/serve.py (TPOT over N − 1 gaps); Databricks (2023) and AWS Neuron (E2E =
TTFT + N·TPOT); LLMPerf (E2E over N).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_non_negative,
    require_positive_integer,
)

LONG_TOKENS = 16_000  # of an answer that reasons, at most
PROXY_S = 300  # between two reads, after which the page's proxy closes a connection
WORDS_PER_MINUTE, WORDS_PER_TOKEN = 238.0, 0.75  # English, read silently; Brysbaert, Databricks


@dataclass(frozen=True)
class StreamMetrics:
    """What one stream of N tokens was like for its client; all times in seconds."""

    tokens: int  # N
    ttft_s: float  # from sending to the first token
    tpot_s: float  # mean gap between tokens; NaN for a single token
    longest_itl_s: float  # longest gap; NaN for a single token
    e2e_s: float  # from sending to the last token


def stream_metrics(arrival_s: npt.ArrayLike) -> StreamMetrics:
    """TTFT, TPOT, longest gap and total time of one stream.

    arrival_s: when each token arrived, counted from the sending of the request [s], shape (N,),
    N ≥ 1, not decreasing. Raises ValueError on anything else.

    >>> metrics = stream_metrics([0.5, 0.75, 1.5])
    >>> metrics.ttft_s, metrics.tpot_s, metrics.longest_itl_s, metrics.e2e_s
    (0.5, 0.5, 0.75, 1.5)
    """
    times = as_floats(arrival_s=arrival_s)
    ordered = times.ndim == 1 and times.size > 0 and np.all(times >= [0.0, *times[:-1]])
    require(ordered and np.all(times < math.inf), "arrival_s", "sorted times from 0 on", times)
    gaps = np.diff(times)
    return StreamMetrics(
        tokens=times.size,
        ttft_s=float(times[0]),
        tpot_s=float(times[-1] - times[0]) / gaps.size if gaps.size else math.nan,
        longest_itl_s=float(gaps.max()) if gaps.size else math.nan,
        e2e_s=float(times[-1]),
    )


def end_to_end_s(ttft_s: float, tpot_s: float, tokens: int) -> float:
    """From sending a request to the last of N tokens: TTFT + (N − 1)·TPOT [s].

    ttft_s: to the first token [s]. tpot_s: mean gap between tokens [s]. tokens: N ≥ 1. The first
    token is already paid for by TTFT. Raises ValueError on negative or infinite times.

    >>> end_to_end_s(ttft_s=0.5, tpot_s=0.025, tokens=101)
    3.0
    """
    ttft_s, tpot_s = require_non_negative(ttft_s=ttft_s, tpot_s=tpot_s)
    tokens = require_positive_integer(tokens=tokens)
    return ttft_s + (tokens - 1) * tpot_s


@dataclass(frozen=True)
class TpotConventions:
    """One stream, three numbers that are published as its time per output token [s]."""

    per_gap_s: float  # (E2E − TTFT)/(N − 1): vLLM, NVIDIA AIPerf and NIM
    per_token_s: float  # (E2E − TTFT)/N: what E2E = TTFT + N·TPOT implies; Databricks, AWS Neuron
    with_ttft_s: float  # E2E/N: LLMPerf's inter-token latency


def tpot_conventions(ttft_s: float, e2e_s: float, tokens: int) -> TpotConventions:
    """The “time per output token” of one stream by each of the conventions in use.

    ttft_s: to the first token [s]. e2e_s: to the last [s], at least ttft_s. tokens: N ≥ 2, because
    a single token has no gap. Raises ValueError outside these ranges.

    >>> pace = tpot_conventions(ttft_s=3.0, e2e_s=5.0, tokens=5)
    >>> pace.per_gap_s, pace.per_token_s, pace.with_ttft_s
    (0.5, 0.4, 1.0)
    """
    e2e_s, tokens = as_number(e2e_s=e2e_s, tokens=tokens)
    ttft_s = require_non_negative(ttft_s=ttft_s)
    require(ttft_s <= e2e_s < math.inf, "e2e_s", f"finite and at least {ttft_s}", e2e_s)
    require(2 <= tokens < math.inf and tokens % 1 == 0, "tokens", "an integer from 2 on", tokens)
    generating = e2e_s - ttft_s
    return TpotConventions(generating / (tokens - 1), generating / tokens, e2e_s / tokens)


def example() -> SimpleNamespace:
    """Numbers quoted in the text: TTFT 0.5 s, TPOT 25 ms."""
    return SimpleNamespace(
        long_tokens=LONG_TOKENS,
        long_s=end_to_end_s(0.5, 0.025, LONG_TOKENS),
        reader_gap_ms=60_000 * WORDS_PER_TOKEN / WORDS_PER_MINUTE,
    )


def _steady() -> npt.NDArray[np.float64]:
    """TTFT 0.5 s, then a token every 25 ms: 101 tokens in 3 s."""
    return np.asarray(0.5 + 0.025 * np.arange(101), dtype=float)


def _late_start() -> npt.NDArray[np.float64]:
    """TTFT 2 s, then a token every 10 ms: 101 tokens in 3 s."""
    return np.asarray(2.0 + 0.010 * np.arange(101), dtype=float)


def _interrupted() -> npt.NDArray[np.float64]:
    """TTFT 0.5 s and TPOT 25 ms like the steady one, but with a pause of 1 s after 40 tokens."""
    gaps = np.full(100, 1.5 / 99)
    gaps[39] = 1.0
    return 0.5 + np.concatenate(([0.0], np.cumsum(gaps)))


def figure_equal_totals(figure: Figure) -> None:
    """Three services deliver 101 tokens in 3 s; two of them even have the same TTFT and TPOT.

    The steady one shows its first token after 0.5 s. The late one takes four times as long to
    start, then hurries. The interrupted one pauses for a second in the middle, which neither TTFT
    nor TPOT nor the total shows.

    Alt: Step chart of tokens received against time since the request. All three lines end at the
    same tokens and time. One rises evenly, one starts late and rises steeply, one rises, stays flat
    for a while in the middle, and continues.
    """
    axes = figure.subplots()
    for times, colour, text, x, y in (
        (_steady(), "C0", "steady", 1.05, 50),
        (_interrupted(), "C3", "interrupted", 1.55, 33),
        (_late_start(), "C1", "late", 2.3, 8),
    ):
        axes.step(np.append(times, 3.2), [*range(1, 102), 101], where="post", color=colour)
        axes.annotate(text, (x, y), color=colour, ha="left")
    axes.set(xlim=(0, 3.2), ylim=(0, 108))
    axes.set(xlabel="time since the request was sent [s]", ylabel="tokens received")


def check_total_time() -> None:
    """TTFT 0.5 s and 25 ms per token make 3.000 s for 101 tokens, 3.025 if the first counts twice.

    Source: by hand, 0.5 + 100·0.025; the formula TTFT + N·TPOT of Databricks (2023) and AWS Neuron.
    """
    checks.close("E2E [s]", end_to_end_s(0.5, 0.025, 101), 3.000, rtol=1e-12)
    twice = end_to_end_s(0.5, 0.025, 102)  # of a token more
    checks.close("TTFT + N·TPOT [s]", twice, 0.5 + 101 * 0.025, rtol=1e-12)


def check_a_proxy_cuts_whole_answers() -> None:
    """At the pace of the figure, an answer of 16,000 tokens that is not streamed comes after the
    time-out of the page's proxy; if it is streamed, no read waits for a hundredth of the time-out.

    Source: by hand, 0.5 + 15,999·0.025 s; the longest gap of the figure.
    """
    whole_s = end_to_end_s(0.5, 0.025, LONG_TOKENS)
    checks.close("whole [s]", whole_s, 400.475, rtol=1e-12)
    checks.holds("after the time-out", whole_s > PROXY_S, got=whole_s)
    longest_s = stream_metrics(_interrupted()).longest_itl_s
    checks.inside("longest gap over the time-out", longest_s / PROXY_S, 0, 0.01)


def check_conventions_differ() -> None:
    """The same stream has 25.00, 24.75 or 29.70 ms per token; with 11 tokens, 25, 23 or 68 ms.

    Source: each convention's formula by hand: 2.5/100, 2.5/101, 3/101; 0.25/10, 0.25/11, 0.75/11.
    """
    long, short = tpot_conventions(0.5, 3.0, 101), tpot_conventions(0.5, 0.75, 11)
    checks.close("vLLM, N = 101 [s]", long.per_gap_s, 0.025, rtol=1e-12)
    checks.close("Databricks, N = 101 [s]", long.per_token_s, 0.0247524752, atol=5e-11)
    checks.close("LLMPerf, N = 101 [s]", long.with_ttft_s, 0.0297029703, atol=5e-11)
    checks.close("vLLM, N = 11 [s]", short.per_gap_s, 0.025, rtol=1e-12)
    checks.close("Databricks, N = 11 [s]", short.per_token_s, 0.0227272727, atol=5e-11)
    checks.close("LLMPerf, N = 11 [s]", short.with_ttft_s, 0.0681818182, atol=5e-11)


def check_metrics_hide_the_pause() -> None:
    """A pause of a second leaves TTFT, TPOT and total as they were; only the longest gap shows it.

    Source: the three streams of the figure, by construction 101 tokens in 3 s.
    """
    steady, broken = stream_metrics(_steady()), stream_metrics(_interrupted())
    for name in ("ttft_s", "tpot_s", "e2e_s"):
        checks.close(name, getattr(broken, name), getattr(steady, name), rtol=1e-12)
    checks.close("longest gap, steady [s]", steady.longest_itl_s, 0.025, rtol=1e-9)
    checks.close("longest gap, interrupted [s]", broken.longest_itl_s, 1.0, rtol=1e-12)
    checks.close("total of the late one [s]", stream_metrics(_late_start()).e2e_s, 3.0, rtol=1e-12)
