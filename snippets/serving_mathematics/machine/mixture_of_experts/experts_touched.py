"""How many experts the tokens of a step touch, and what a step pays for them.

Alone a token pays for k experts, in a crowd for E/B. In between nearly every token brings experts
of its own, so that the experts' share of a step grows with the batch until all are touched.

A step of B sequences that touches m experts takes a + d B + c m: a straight line in both.

Assumes: tokens that choose independently; where they choose as was counted, popularity that falls
exponentially from expert to expert.

Source: Huang et al. (2025), arXiv 2505.19645; MCP Tool Shop's counts of Qwen3-30B-A3B, where 65 of
128 experts take nine choices of ten; `step_time` for the book's mixture.
"""

from __future__ import annotations

import math
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from serving_mathematics.core.hardware.architectures import FeedForward
from serving_mathematics.core.hardware.step_time import (
    FITTED,
    Array,
    count_work,
    step_parts,
    touched_experts,
)
from serving_mathematics.core.machines.machines import MIXTURE
from serving_mathematics.machine.mixture_of_experts.expert_routing import (
    experts_a_token,
    touched_by_popularity,
)
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure

CHOSEN = 8  # experts a token, in all that follows
EXPERTS = (32, 128, 256, 384)
ROUTINGS = ("all alike", "as counted in one model")
TOKENS = 128
COUNTED_SHARE = 65 / 128  # of the experts take COUNTED_CHOICES of all choices
COUNTED_CHOICES = 0.9
FULL = 438  # sequences of 2,000 tokens that the book's mixture has memory for


@cache
def _counted_popularity(experts: int) -> Array:
    """Popularity of so many experts, with the counted share for the first of them."""
    place = (np.arange(experts) + 0.5) / experts
    low, high = 0.1, 20.0
    for _ in range(50):
        slope = (low + high) / 2
        weights = np.exp(-slope * place)
        below = weights[place < COUNTED_SHARE].sum() < COUNTED_CHOICES * weights.sum()
        low, high = (slope, high) if below else (low, slope)
    return np.asarray(np.minimum(CHOSEN * weights / weights.sum(), 1.0), dtype=float)


@cache
def _touched(experts: int, routing: str) -> Array:
    """Experts that 1, 2, ... tokens touch on average, shape (TOKENS,)."""
    counts = range(1, TOKENS + 1)
    if routing == ROUTINGS[0]:
        part = FeedForward(0, 1, experts, CHOSEN)
        return np.array([count * experts_a_token(part, count) for count in counts])
    shares = _counted_popularity(experts)
    return np.array([touched_by_popularity(shares, count) for count in counts])


@cache
def _experts_ms(sequences: int) -> tuple[float, float]:
    """Of a step of the book's mixture: what its experts take, and the whole [ms]."""
    work = count_work([MIXTURE.deployment])
    parts = step_parts(work, FITTED, np.array([float(sequences)]), np.array([2000.0]))
    return 1e3 * float(parts.experts[0]), 1e3 * float(parts.total()[0])


def _share(sequences: int) -> float:
    """Share of a step of the book's mixture that its experts take."""
    experts, whole = _experts_ms(sequences)
    return experts / whole


def _due() -> tuple[float, float, float]:
    """A step of the book's mixture with B sequences that touch a share of its experts, as a line:
    what it takes empty, for a sequence, and for all experts [s]."""
    counts = np.arange(1, MIXTURE.places + 1)
    steps = MIXTURE.step_s(counts)
    shares = _touched(384, ROUTINGS[0])[: counts.size] / 384
    terms = np.stack([np.ones(counts.size), counts, shares], axis=1) / steps[:, None]
    found = np.linalg.lstsq(terms, np.ones(counts.size))[0]
    empty, each, experts = found.tolist()
    return empty, each, experts


def example() -> SimpleNamespace:
    """Numbers of the page."""
    alike, counted = (_touched(128, routing) for routing in ROUTINGS)
    return SimpleNamespace(
        counted_lower=1 - counted[31] / alike[31],
        share_alone=_share(1),
        share_64=_share(64),
        full_sequences=FULL,
        share_full=_share(FULL),
    )


def figure_experts_touched(figure: Figure) -> None:
    """Each new token touches experts that no other has touched, until nearly all are.

    Each token takes eight experts, all equally popular and chosen independently.

    Alt: Two line charts against tokens in a step. Left, the share of the experts that are touched:
    of 32 nearly all are touched at once; with 128, 256 and 384 the line bends later and later.
    Right, the experts that a token pays for: each line falls from eight, more slowly the more
    experts there are, while a dotted line for a dense model falls at once.
    """
    left, right = figure.subplots(1, 2)
    counts = np.arange(1, TOKENS + 1)
    for experts, colour in zip(EXPERTS[::-1], ("C3", "C2", "C0", "C4"), strict=True):
        touched = _touched(experts, ROUTINGS[0])
        left.plot(counts, 100 * touched / experts, color=colour, label=f"8 of {experts}")
        right.plot(counts, touched / counts, color=colour, label=f"8 of {experts}")
    right.plot(counts, CHOSEN / counts, ":", color="C1", label="dense")
    left.set(ylim=(0, 101), ylabel="experts touched [%]")
    right.set(ylim=(0, 8.2), ylabel="experts a token pays for")
    right.legend(loc="upper right")
    for axes in (left, right):
        axes.set(xlim=(1, TOKENS), xlabel="tokens in a step")


def slider_experts_touched() -> dict[str, Any]:
    """Add one token after another: how many new experts does the next one touch? Experts are only a
    part of a step."""
    frames = np.arange(1, TOKENS + 1)
    runs = [[_touched(experts, routing) for routing in ROUTINGS] for experts in EXPERTS]
    touched = np.array(runs)  # (experts, routings, frames)
    places = np.array(EXPERTS)[:, None].repeat(len(ROUTINGS), axis=1)
    filled = np.rint(touched).astype(int)
    new = np.diff(filled, axis=2, prepend=0)
    dense = np.broadcast_to(CHOSEN / frames, touched.shape)
    percent = (100 * touched / places[:, :, None]).tolist()
    return {
        "controls": [
            {"label": "experts", "values": list(EXPERTS), "text": "8 of {}", "start": 384},
            {"label": "popularity", "values": list(ROUTINGS), "start": ROUTINGS[0]},
        ],
        "clock": {
            "label": "tokens in a step",
            "unit": "",
            "decimals": 0,
            "values": frames.tolist(),
            "start": 32,
        },
        "panels": [
            {
                "kind": "engine",
                "of": "experts",
                "places": places.tolist(),
                "running": filled.tolist(),
                "prompts": new.tolist(),
            },
            {
                "kind": "curves",
                "y": {"label": "experts that a token pays for", "unit": "", "range": (0, 8.2)},
                "curves": [
                    {"label": name, "unit": "", "decimals": 2, "values": values.tolist()}
                    for name, values in (
                        ("mixture", touched / frames),
                        ("dense model of its active size", dense),
                    )
                ],
            },
        ],
        "readouts": [{"label": "touched", "unit": "%", "decimals": 0, "values": percent}],
        "legend": {
            "answer": "touched already",
            "prompt": "touched by the newest token",
            "free": "not read",
        },
        "reading": "Tokens in a step: {tokens in a step}. Each takes {experts} experts (popularity:"
        " {popularity}). Together they read {touched} of all: {mixture} a token. A dense model of"
        " the active size reads the bytes of {dense model of its active size}.",
    }


def check_a_step_is_a_line_in_touched_experts() -> None:
    """The time of a step of the book's mixture is a constant, plus a time for each sequence and one
    for each expert touched, within 1%.

    Source: `Machine.step_s`, for one sequence to all places.
    """
    empty, each, experts = _due()
    for count in (1, 8, 24, MIXTURE.places):
        touched = _touched(384, ROUTINGS[0])[count - 1] / 384
        step = float(MIXTURE.step_s(count))
        told = empty + each * count + experts * touched
        checks.close(f"{count} sequences [s]", told, step, rtol=0.01)


def check_experts_lead_in_between() -> None:
    """The experts' share of a step's time rises until there are one to six times E/k sequences, and
    then falls. The more sequences a step has, the less each costs. Both also hold if experts take
    1.7 times as long as computed, as in four bits on Hopper, or are 1.7 times as fast, or have the
    popularity that was counted.

    Source: parts of the step of the book's mixture, which takes 8 of 384; 1 to 4,096 sequences,
    which is more than its memory holds; the error of `expert_kernels` for four bits.
    """
    checks.inside(
        "cache over what the page says fits",
        MIXTURE.cache_tokens / (2000 * FULL),
        1.0,
        1 + 1 / FULL,
    )
    counts = [2**i for i in range(13)]
    parts = np.array([_experts_ms(count) for count in counts])
    shares = _counted_popularity(384)
    skewed = np.array([touched_by_popularity(shares, count) for count in counts])
    alike = touched_experts(np.full(13, 384.0), np.full(13, 8.0), np.array(counts, dtype=float))
    for label, factor in (
        ("alike", 1.0),
        ("1.7 times as long", 1.7),
        ("1.7 times as fast", 1 / 1.7),
        ("as counted", skewed / alike),
    ):
        experts = factor * parts[:, 0]
        steps = parts[:, 1] - parts[:, 0] + experts
        share = experts / steps
        peak = counts[int(np.argmax(share))]
        checks.inside(f"{label}: peak over E/k", peak / 48, 1.0, 6.0)
        checks.holds(f"{label}: falls on both sides", bool(share[0] < share.max() > share[-1]))
        checks.holds(f"{label}: a sequence costs less", bool(np.all(np.diff(steps / counts) < 0)))


def check_a_third_pay_for_nearly_all() -> None:
    """In a step with a third of E/k tokens, each pays for a share of 3(1 − exp(−1/3)) of its own
    experts, or up to 5% more.

    Source: the formula for tokens that choose independently, with very many experts.
    """
    third = -3 * math.expm1(-1 / 3)
    for experts in EXPERTS[1:]:
        count = round(experts / CHOSEN / 3)
        pays = float(_touched(experts, ROUTINGS[0])[count - 1]) / count / CHOSEN
        checks.inside(f"8 of {experts}, {count} tokens", pays / third, 1.0, 1.05)
