"""A cache remembers a block for as long as it takes to fill it with others: C over what is fresh.

Let the block be what enters and leaves. Shared or not, it is in the cache once, and it enters only
when nobody finds it there. A full cache of C tokens into which r fresh tokens come each second so
keeps one for C/r on average, by Little's law; where what was used last is kept longest, nearly all
of them for about as long. A session finds its prefix if it comes back sooner.

`python -m serving_mathematics.capacity.littles_law.block_lifetime` runs the agents, in some
seconds, and writes records/block_lifetime.json.

Assumes: a full cache that lets go of what was used longest ago; the book's agents.

Source: Little (1961); Che, Tung and Wang (2002) for one age at which all blocks are let go; own
simulation of the book's machines.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.session_fit import reused_tokens
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.machines.machines import AGENTS, Machine
from serving_mathematics.core.machines.sessions import sessions_under_way
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import recorded
from serving_mathematics.support.require import require_non_negative, require_positive

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOADS = (0.2, 0.3, 0.4, 0.5, 0.6)  # of the agents' ceiling, at which all prefixes are found
REQUESTS = 6000


def block_lifetime_s(cache_tokens: float, fresh_tokens_per_s: float) -> float:
    """How long a full cache keeps a token on average, C/r [s].

    cache_tokens: C, that it holds. fresh_tokens_per_s: r, of prompts that are not found in it, and
    of answers. Raises ValueError unless the first is positive and the second non-negative.

    >>> block_lifetime_s(cache_tokens=3_000_000, fresh_tokens_per_s=5_000)
    600.0
    """
    cache_tokens = require_positive(cache_tokens=cache_tokens)
    fresh_tokens_per_s = require_non_negative(fresh_tokens_per_s=fresh_tokens_per_s)
    return cache_tokens / fresh_tokens_per_s if fresh_tokens_per_s else math.inf


class _Seen(NamedTuple):
    """Lifetime [s] in the middle of a run, shares of the reusable tokens that were found, and that
    came back within a lifetime, and the median time until a session comes back [s]."""

    lifetime: float
    found: float
    back: float
    away: float


@recorded(_Seen, "block_lifetime")
def _sessions(machine: Machine, load: float, seed: int = 1) -> _Seen:
    """A machine under sessions at a share of its ceiling."""
    context = machine.deployment.architecture.context_tokens
    rng, rate = np.random.default_rng(seed), load * machine.ceiling_per_s
    asked = sessions_under_way(rng, rate, REQUESTS, context)
    seen = simulate_fleet(asked, Fleet([machine.engine], caching=True))
    end = float(seen.completion_s.max())
    middle = (seen.completion_s > 0.3 * end) & (seen.completion_s < 0.9 * end)
    fresh = (asked.prompt_tokens - seen.found_tokens + asked.output_tokens)[middle].sum()
    lifetime = block_lifetime_s(machine.cache_tokens, float(fresh) / (0.6 * end))
    last = np.where(asked.after >= 0, seen.completion_s[np.maximum(asked.after, 0)], -math.inf)
    gap, reusable = seen.admitted_s - last, reused_tokens(asked)
    total = float(reusable[middle].sum())
    found = float(seen.found_tokens[middle].sum()) / total
    back = float(reusable[middle & (gap < lifetime)].sum()) / total
    return _Seen(lifetime, found, back, float(np.median(gap[middle & (asked.after >= 0)])))


def example() -> SimpleNamespace:
    """Numbers quoted in the text: the agents at two loads."""
    calm, busy = _sessions(AGENTS, 0.4), _sessions(AGENTS, 0.6)
    return SimpleNamespace(
        agents_cache_millions=AGENTS.cache_tokens / 1e6,
        calm_lifetime_min=calm[0] / 60,
        calm_found=100 * calm[1],
        busy_lifetime_min=busy[0] / 60,
        busy_found=100 * busy[1],
        busy_back=100 * busy[2],
        lucky_found=100 * _sessions(AGENTS, 0.5, 2)[1],
        unlucky_found=100 * _sessions(AGENTS, 0.5)[1],
    )


def figure_block_lifetime(figure: Figure) -> None:
    """As fresh tokens come faster, the cache remembers for a shorter time, until sessions come back
    too late and make everything fresh.

    The book's agents on one engine. Left, how long the cache keeps a token, and how long sessions
    stay away; right, the share of reusable tokens that is found: points simulated, line by the rule
    that a prefix is found if it comes back within that time.

    Alt: Two panels against load from 20 to 60 percent. Left, on a logarithmic axis, the lifetime
    falls and crosses the rising time that sessions stay away. Right, the share found stays near
    everything and then drops; points lie close to the line.
    """
    figure.set_size_inches(5.8, 2.7)
    left, right = figure.subplots(1, 2)
    loads = [100 * load for load in LOADS]
    life, found, back, away = zip(*[_sessions(AGENTS, load) for load in LOADS], strict=True)
    left.semilogy(loads, life, "o-", color="C0")
    left.semilogy(loads, away, "o-", color="C4")
    left.annotate("kept", (loads[1], life[1] * 1.3), color="C0")
    left.annotate("away", (loads[1], away[1] * 1.6), color="C4")
    left.set_yticks([10, 100, 1000], ["10", "100", "1,000"])
    left.set(xlabel="load [%]", ylabel="time [s]")
    left.minorticks_off()
    right.plot(loads, [100 * share for share in back], color="C0")
    right.plot(loads, [100 * share for share in found], "o", color="C1")
    right.set(xlabel="load [%]", ylabel="found [%]", ylim=(0, 103))


def check_mean_stay_in_a_cache() -> None:
    """In a cache that keeps what was used last, blocks stay C/r on average, however often they are
    found again in between.

    Source: 200 blocks kept one by one, 60,000 uses with popularities 1/√k of 2,000 blocks; entries
    in the middle of the run and the time until each left.
    """
    rng, kept, left = np.random.default_rng(6), OrderedDict[int, int](), list[int]()
    share = np.arange(1, 2001) ** -0.5
    uses = rng.choice(2000, 60_000, p=share / share.sum())
    entered, fresh = dict[int, int](), 0
    for now, block in enumerate(uses.tolist()):
        if block in kept:
            kept.move_to_end(block)
            continue
        kept[block] = now
        entered[block] = now
        fresh += now > 5000
        if len(kept) > 200:
            gone, _ = kept.popitem(last=False)
            if now > 5000:
                left.append(now - entered[gone])
    rate = fresh / (60_000 - 5000)
    expected = block_lifetime_s(200, rate)
    checks.close("mean stay [uses]", float(np.mean(left)), expected, rtol=0.03, kind="simulation")


def check_lifetime_says_what_is_found() -> None:
    """The share of reusable tokens that come back within a lifetime is the share that is found, to
    a tenth, at every load, with other sessions, and with half of the places; found is never more.

    Source: `core.fleet`, with its own cache of blocks, 6,000 requests each.
    """
    tried = [(AGENTS, load, 1) for load in LOADS]
    tried += [(AGENTS, 0.5, 2), (AGENTS.limited(32), 0.4, 1)]
    for machine, load, seed in tried:
        _, found, back, _ = _sessions(machine, load, seed)
        label = f"{machine.places} places at {load:g}, sessions {seed}"
        checks.close(label, found, back, atol=0.1, kind="simulation")


def check_forgetting_feeds_itself() -> None:
    """Between 40% and 60% of the ceiling the lifetime falls by much more than the load rises,
    because what is not found is fresh; with other sessions too. At 50% it is a matter of chance.

    Source: the simulated agents; load alone would divide it by 1.5.
    """
    for seed in (1, 2):
        calm, busy = _sessions(AGENTS, 0.4, seed), _sessions(AGENTS, 0.6, seed)
        checks.inside(f"sessions {seed}", calm[0] / busy[0], 2.5, 9, kind="simulation")
    one, other = (_sessions(AGENTS, 0.5, seed)[1] for seed in (1, 2))
    checks.inside("found at 50%, in two runs", abs(one - other), 0.4, 1.0, kind="simulation")


def check_a_run_is_made_again() -> None:
    """A load of the record, simulated again, has the same lifetime and shares.

    Source: the record, and its command.
    """
    checks.close("at 0.2", _sessions.again(AGENTS, 0.2), _sessions(AGENTS, 0.2), rtol=1e-6)


def check_bad_input_is_refused() -> None:
    """No cache and negative rates are errors; where nothing is fresh, all is kept for ever.

    Source: the limit of C/r for r to 0.
    """
    checks.raises("no cache", block_lifetime_s, 0, 1.0, match="cache_tokens must be positive")
    checks.raises("negative", block_lifetime_s, 1, -1.0, match="fresh_tokens_per_s must be")
    checks.equal("nothing fresh", block_lifetime_s(1, 0), math.inf)


if __name__ == "__main__":
    _sessions.make()
