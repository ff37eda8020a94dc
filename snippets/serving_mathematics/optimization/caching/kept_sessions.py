"""What a cache finds of sessions that come back, and the load at which it begins to forget.

A session that comes back within the time T finds what it left, and a later one finds nothing: that
is a cache of blocks that throws out what was not used for longest. T is the time in which as many
tokens are left behind as the cache holds,

    C = λ E[n · min(R, T)],

for n tokens of a context, R seconds until its session returns (for ever after the last request) and
λ requests a second. That is Little's law for tokens that stay.

`python -m serving_mathematics.optimization.caching.kept_sessions` runs the book's agents at several
loads, with and without a tier in host memory, and writes records/kept_sessions.json.gz.

Assumes: sessions of the recorded law; for the closed form that answers come at a nominal speed and
that a context is kept or forgotten whole.

Source: Che, Tung and Wang (2002) for the characteristic time, here of sessions; own simulation of
the book's machine; Qin et al. (2025) for tiers below the device.
"""

from __future__ import annotations

import functools
import itertools
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.fleet.block_cache import BlockCache
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.sharing import reused_tokens, session_of
from serving_mathematics.core.fleet.tiers import Tier
from serving_mathematics.core.machines.book import promised_load
from serving_mathematics.core.machines.machines import AGENTS
from serving_mathematics.core.machines.running import run_engine
from serving_mathematics.core.machines.sessions import NOMINAL_TOKEN_S, sessions_under_way
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import recorded
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_positive,
    require_shape,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

TOKEN_BYTES = 253_952  # of MiniMax-M2.5: 62 layers with 8 heads of 128 numbers, 16 bits
HOST_BYTES = 2e12  # memory of a host with eight devices [B]
LINK_BYTES_PER_S = 8 * 50e9  # from host to eight devices, PCIe 5 [B/s]
LOADS = (20, 30, 40, 45, 50, 55, 60, 65, 70, 80, 90)  # of the ceiling [%]
SEEDS, REQUESTS = 3, 6000
# bytes of host memory, None for as many as the devices keep, and of its link a second
WAYS: dict[str, tuple[float | None, float]] = {
    "none": (0.0, 0.0),
    "as large": (None, LINK_BYTES_PER_S),
    "host": (HOST_BYTES, LINK_BYTES_PER_S),
}


def lifetime(
    cache_tokens: float, rate_per_s: float, contexts: npt.ArrayLike, returns_s: npt.ArrayLike
) -> float:
    """Seconds T that an unused context stays in a cache, from C = λ E[n min(R, T)].

    cache_tokens: C. rate_per_s: λ, requests a second. contexts: n, tokens that each request leaves
    behind, shape (n,). returns_s: R, until its session's next request, infinity for none, shape
    (n,). Infinity where every context that is used again is kept. Raises ValueError on other input.

    >>> lifetime(1000.0, rate_per_s=1.0, contexts=[100, 100], returns_s=[4.0, float("inf")])
    16.0
    """
    room, rate = require_positive(cache_tokens=cache_tokens, rate_per_s=rate_per_s)
    held, until = as_floats(contexts=contexts), as_floats(returns_s=returns_s)
    require(held.ndim == 1 and held.size > 0, "contexts", "of shape (n,), n ≥ 1", held.shape)
    require_shape(held.shape, returns_s=until)
    require((held > 0) & (held < np.inf), "contexts", "positive and finite", held)
    require(until >= 0, "returns_s", "non-negative", until)
    order = np.argsort(until)
    ends, own = until[order], held[order] * rate / held.size  # tokens that come in each second
    growth = np.append(np.cumsum(own[::-1])[::-1], 0.0)  # of what is held at a time, from each end
    finite = ends[np.isfinite(ends)]
    steps = np.diff(finite, prepend=0.0)
    filled = np.append(0.0, np.cumsum(growth[: finite.size] * steps))
    if filled[-1] <= room and growth[finite.size] == 0:
        return float("inf")
    place = int(np.searchsorted(filled, room, side="right")) - 1
    start = float(finite[place - 1]) if place > 0 else 0.0
    return start + float((room - filled[place]) / growth[place])


def found_share(
    lifetime_s: float, prompts: npt.ArrayLike, repeated: npt.ArrayLike, since_s: npt.ArrayLike
) -> float:
    """Share of prompt tokens that a cache finds when a context stays this long.

    lifetime_s: T, positive. prompts: tokens of each, shape (n,). repeated: of these, those that the
    session has sent before, shape (n,). since_s: time since then, infinity for a first request,
    shape (n,). Raises ValueError on other input.

    >>> found_share(10.0, [100, 200], repeated=[0, 150], since_s=[float("inf"), 8.0])
    0.5
    """
    lifetime_s = as_number(lifetime_s=lifetime_s)
    require(lifetime_s > 0, "lifetime_s", "positive", lifetime_s)
    sent, old = as_floats(prompts=prompts), as_floats(repeated=repeated)
    since = as_floats(since_s=since_s)
    require(sent.ndim == 1 and sent.size > 0, "prompts", "of shape (n,), n ≥ 1", sent.shape)
    require_shape(sent.shape, repeated=old, since_s=since)
    require((sent > 0) & (sent < np.inf), "prompts", "positive and finite", sent)
    require((old >= 0) & (old <= sent), "repeated", "from 0 to the prompt", old)
    require(since >= 0, "since_s", "non-negative", since)
    return float(old[since <= lifetime_s].sum() / sent.sum())


@functools.cache
def _sessions(load: float, seed: int = 1) -> tuple[Requests, FloatArray, FloatArray, IntArray]:
    """Requests of the agents at a load, and of each when it comes, how long its session was away
    before [s], and the tokens that its session has sent before."""
    rng = np.random.default_rng(seed)
    rate, context = load * AGENTS.ceiling_per_s, AGENTS.deployment.architecture.context_tokens
    asked = sessions_under_way(rng, rate, REQUESTS, context)
    later = asked.after >= 0
    took = asked.pause_s + NOMINAL_TOKEN_S * np.r_[0.0, asked.output_tokens[:-1]]
    took[~later] = 0.0
    total, begins = np.cumsum(took), np.flatnonzero(~later)
    session = session_of(asked)
    comes = asked.arrival_s[begins][session] + total - total[begins][session]
    since = np.where(later, took, np.inf)
    return asked, comes, since, reused_tokens(asked)


def _told(tokens: float, load: float = 0.3) -> tuple[float, float]:
    """T [s] and the share found by the closed form."""
    asked, _, since, repeated = _sessions(load)
    rate, until = load * AGENTS.ceiling_per_s, np.append(since[1:], np.inf)
    stays = lifetime(tokens, rate, asked.prompt_tokens, until)
    return stays, found_share(stays, asked.prompt_tokens, repeated, since)


@functools.cache
def _replayed(tokens: int, load: float) -> float:
    """Share that a cache of so many tokens finds when every block is followed, after a third."""
    asked, comes, _, _ = _sessions(load)
    assert asked.prefixes is not None
    size = AGENTS.engine.block_tokens
    tree = asked.prefixes.in_blocks(size)
    cache, found = BlockCache(tree), np.zeros(comes.size)
    for request in np.argsort(comes, kind="stable").tolist():
        chain, depth = int(tree.chain[request]), int(tree.blocks[request])
        found[request] = cache.look(chain, depth)[1] * size
        cache.hold(chain, depth)
        cache.release(chain, depth)
        cache.shrink(cache.resident - tokens // size)
    late = comes > comes.max() / 3
    return float(found[late].sum() / asked.prompt_tokens[late].sum())


class _Seen(NamedTuple):
    """Share of the prompt tokens found, and of the requests that got what is promised."""

    found: float
    kept: float


@recorded(_Seen, "kept_sessions")
def _run(way: str, load: int, seed: int) -> _Seen:
    """The agents at a load [% of the ceiling], with a tier of one of the ways."""
    size, link = WAYS[way]
    size = AGENTS.cache_tokens * float(TOKEN_BYTES) if size is None else size
    block_bytes = float(AGENTS.engine.block_tokens * TOKEN_BYTES)
    tiers = [Tier(int(size / block_bytes), block_bytes, link)] if size else []
    rate, rng = load / 100 * AGENTS.ceiling_per_s, np.random.default_rng([35, seed])
    run = run_engine(AGENTS, rate, REQUESTS, rng, tiers=tiers)
    end = REQUESTS / rate  # until which sessions begin [s]
    late = (run.arrival_s > end / 5) & (run.arrival_s <= end)
    found = float(run.cached_tokens[late].sum() / run.prompt_tokens[late].sum())
    return _Seen(found, run.kept(AGENTS))


def _runs(load: int, way: str = "none") -> list[_Seen]:
    """All runs at a load."""
    return [_run(way, load, seed) for seed in range(SEEDS)]


def _kept(way: str) -> FloatArray:
    """Share of the requests that get what is promised, shape (loads, runs)."""
    return np.array([[run.kept for run in _runs(load, way)] for load in LOADS])


def _limits(way: str) -> FloatArray:
    """Load up to which nine of ten requests get what is promised, by run [% of the ceiling]."""
    share, found = AGENTS.promise.share, []
    for kept in _kept(way).T:
        first = int(np.flatnonzero(kept < share)[0])
        low, high = kept[first - 1 : first + 1]
        found.append(LOADS[first - 1] + (low - share) / (low - high) * np.diff(LOADS)[first - 1])
    return np.array(found)


def example() -> SimpleNamespace:
    """Numbers quoted in the text; seconds to a hundred, because samples differ by as much."""
    stays, told = _told(AGENTS.cache_tokens, 0.3)
    found = float(np.mean([run.found for run in _runs(30)]))
    return SimpleNamespace(
        load_percent=30,
        stays_s=round(stays, -2),
        told_percent=100 * told,
        found_percent=100 * found,
        prompt_times=1 / (1 - found),
    )


SIZES = (300_000, 1_000_000, 2_000_000, 3_251_728, 10_000_000)


def figure_found(figure: Figure) -> None:
    """Little's law for tokens gives how long a context stays, and so what is found.

    The agents at 30% of their ceiling, as if the engine always answered at one speed.

    Alt: Line of the share of prompt tokens found against the size of the cache, on a logarithmic
    axis. It is near zero for small caches, rises steeply and flattens near the share that is
    repeated at all. Points lie close to the line. A vertical line marks the device's own cache, on
    the flat part.
    """
    axes = figure.subplots()
    sizes = np.geomspace(2e5, 2e7, 40)
    axes.semilogx(sizes / 1e6, [100 * _told(size)[1] for size in sizes], color="C0")
    points = [100 * _replayed(size, 0.3) for size in SIZES]
    axes.plot([size / 1e6 for size in SIZES], points, "o", color="C1")
    axes.axvline(AGENTS.cache_tokens / 1e6, color="C4", linestyle=":")
    axes.annotate("the device's", (AGENTS.cache_tokens / 1e6 * 1.06, 12), color="C4")
    axes.annotate("Little's law", (0.52, 52), color="C0", ha="right")
    axes.annotate("simulated,\nblock by block", (1.1, 62), color="C1", va="top")
    axes.set_xticks([0.3, 1, 3, 10], ["0.3", "1", "3", "10"])
    axes.minorticks_off()
    axes.set(ylim=(0, 100), xlabel="cache [million tokens]", ylabel="prompt tokens found [%]")


def figure_forgetting(figure: Figure) -> None:
    """A cache that forgets makes work, and the work makes it forget more: the promise falls off a
    cliff, which a tier larger than the device moves to a higher load.

    The agents, with device memory only, and with a tier in host memory. Medians of three runs.

    Alt: Lines of the share of requests that get what is promised, against load. Without a tier the
    share is high and then falls steeply. With a tier as large as the device it falls a little
    later, with one of two terabytes much later.
    """
    axes = figure.subplots()
    for way, colour, text, x, y in (
        ("none", "C3", "device only", 30, 40),
        ("as large", "C1", "tier as large\nas the device", 58.5, 63),
        ("host", "C0", "2 TB of host memory", 73, 92),
    ):
        axes.plot(LOADS, 100 * np.median(_kept(way), axis=1), color=colour)
        axes.annotate(text, (x, y), color=colour)
    axes.axhline(100 * AGENTS.promise.share, color="C4", linestyle=":")
    axes.annotate("promised", (21, 84), color="C4")
    axes.set(xlim=(20, 90), ylim=(0, 102))
    axes.set(xlabel="load [% of the ceiling]", ylabel="requests in time [%]")


def check_share_found_against_every_block() -> None:
    """The closed form is within nine points of a cache that follows every block, from a tenth to
    three times the device's cache, at 30% and at half of the ceiling.

    Source: `BlockCache`, the same 6,000 requests in their order.
    """
    for size, load in itertools.product(SIZES, (0.3, 0.5)):
        label = f"{size / 1e6:g} million tokens at {load:.0%} [%]"
        told = 100 * _told(size, load)[1]
        checks.close(label, 100 * _replayed(size, load), told, atol=9, kind="simulation")


def check_share_found_in_the_engine() -> None:
    """Below the cliff the engine finds what the closed form says, to within three points, so at 30%
    of the ceiling it reads a twelfth to a sixteenth of its prompt tokens; beyond the cliff, at 80%,
    next to nothing is found while sessions keep beginning, in every run.

    Source: `core.fleet`, three runs of 6,000 requests at each load, whose median is taken.
    """
    for load in (20, 30, 40):
        told = 100 * _told(AGENTS.cache_tokens, load / 100)[1]
        seen = 100 * float(np.median([run.found for run in _runs(load)]))
        checks.close(f"at {load}% [%]", seen, told, atol=3, kind="simulation")
        if load == 30:
            less = example().prompt_times
            checks.inside("at 30%, prompt tokens over those read", less, 12, 16)
    most = max(run.found for run in _runs(80))
    checks.inside("at 80%, most found", most, 0.0, 0.02)


def check_a_tier_moves_the_cliff_if_it_is_larger() -> None:
    """Two terabytes of host memory raise the load at which the promise ends by about half or more
    in every run, a tier as large as the device by less than a fifth.

    Source: the record; each run against the same one without a tier.
    """
    for way, least, most in (("host", 1.48, 2.0), ("as large", 1.0, 1.2)):
        for run, ratio in enumerate(_limits(way) / _limits("none"), 1):
            checks.inside(f"{way}, run {run}: over no tier", float(ratio), least, most)


def check_a_single_run_may_end_earlier() -> None:
    """Some single runs without a tier end a sixth below the load up to which the mean of forty runs
    keeps the promise, and none ends more than an eighth above it.

    Source: this record, and that of the book's machines.
    """
    ends = _limits("none") / (100 * promised_load("agents"))
    checks.inside("earliest end, over the mean's", float(ends.min()), 0.78, 0.88)
    checks.inside("latest end, over the mean's", float(ends.max()), 1.0, 1.125)


def check_lifetime_by_hand() -> None:
    """One request a second that leaves 100 tokens for good fills 1,000 in ten seconds; where all
    come back within a second, 100 tokens are enough for all.

    Source: worked by hand.
    """
    never = float("inf")
    checks.close("never", lifetime(1000.0, 1.0, [100], [never]), 10.0, rtol=1e-12)
    checks.equal("always", lifetime(101.0, 1.0, [100], [1.0]), never)


if __name__ == "__main__":
    _run.make()
