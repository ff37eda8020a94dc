"""Solutions to the exercises on mixtures: a crowd that pays, a dashboard, copies of experts.

Assumes: experts chosen at random and independently by token; loads of experts that are known.

Source: the chapter's count of touched experts; DeepSeek-AI (2025), EPLB, whose README describes
copies and their places.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.hardware.architectures import FeedForward
from serving_mathematics.machine.mixture_of_experts.expert_routing import (
    busiest_device,
    experts_a_token,
    skewed_counts,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_non_negative,
    require_in,
    require_non_negative_integer,
    require_positive_integer,
    require_work,
)

HINTS = {
    "tokens_for_share": (
        "What a token pays falls steadily, from k experts towards E/B. Double the tokens until it"
        " is low enough, then keep halving the interval."
    ),
    "step_longer": (
        "The busiest device's load is the mean load divided by the balance. Only the experts' part"
        " of the step grows with it."
    ),
    "busiest_with_copies": (
        "Give each copy to the expert that now has the most tokens per copy. Then place the copies,"
        " heaviest first, each on the device with the least load that still has a place."
    ),
}


def tokens_for_share(share: float, experts: int, chosen: int) -> int:
    """Fewest tokens in a step with which each pays at most this share of what it pays alone.

    share: of the weights of its k experts, in (0, 1). experts: E. chosen: k < E. Raises ValueError
    outside.

    >>> tokens_for_share(0.5, experts=128, chosen=8)
    27
    """
    share = require_in("(0, 1)", share=share)
    experts, chosen = require_positive_integer(experts=experts, chosen=chosen)
    require(chosen < experts, "chosen", f"below the {experts} experts", chosen)
    part = FeedForward(0, 1, experts, chosen)
    most = 1
    while experts_a_token(part, most) > share * chosen:
        most *= 2
    least = most // 2
    while most - least > 1:
        middle = (least + most) // 2
        if experts_a_token(part, middle) > share * chosen:
            least = middle
        else:
            most = middle
    return most


def step_longer(experts_share: float, balance_before: float, balance_now: float) -> float:
    """How many times as long a large step takes once the balance has changed.

    experts_share: share of the step that experts took before, in [0, 1]. balance_before,
    balance_now: mean load over that of the busiest device, in (0, 1]. The experts' part of a step
    is in proportion to the busiest device's tokens. Raises ValueError outside.

    >>> round(step_longer(0.5, balance_before=0.8, balance_now=0.4), 9)
    1.5
    """
    share = require_in("[0, 1]", experts_share=experts_share)
    before, now = require_in("(0, 1]", balance_before=balance_before, balance_now=balance_now)
    return float(1 + share * (before / now - 1))


def busiest_with_copies(loads: npt.ArrayLike, devices: int, copies: int) -> float:
    """Load of the busiest device over the mean, if the most popular experts have copies and all are
    placed well.

    loads: tokens of each expert, shape (E,). copies: places beyond one for each expert; all E +
    copies places are split evenly over the devices. Raises ValueError where that is impossible.

    >>> busiest_with_copies([6, 1, 1, 2], devices=2, copies=2)
    1.0
    """
    tokens = as_floats(loads=loads)
    require_all_non_negative(loads=tokens)
    require(tokens.ndim == 1 and tokens.sum() > 0, "loads", "tokens, some of them", loads)
    devices = require_positive_integer(devices=devices)
    copies = require_non_negative_integer(copies=copies)
    places = tokens.size + copies
    require(places % devices == 0, "copies", f"so that {devices} devices divide {places}", copies)
    require_work(places * (20 + (tokens.size + devices) / 50), copies=copies)
    instances = np.ones(tokens.size)
    for _ in range(copies):
        instances[np.argmax(tokens / instances)] += 1
    parts = np.sort(np.repeat(tokens / instances, instances.astype(int)))[::-1]
    held, free = np.zeros(devices), np.full(devices, places // devices)
    for part in parts:
        place = int(np.argmin(np.where(free > 0, held, np.inf)))
        held[place] += part
        free[place] -= 1
    return float(held.max() / held.mean())


def example() -> SimpleNamespace:
    """Answers to the exercises."""
    rng = np.random.default_rng(256)
    drawn = [skewed_counts(2048, 256, 8, 1.2, rng) for _ in range(8)]
    return SimpleNamespace(
        half_of_mixture=tokens_for_share(0.5, 384, 8),
        board_longer=step_longer(0.4, 0.9, 0.6) - 1,
        without_copies=float(np.mean([busiest_device(counts, 64)[1] for counts in drawn])),
        placed_only=float(np.mean([busiest_with_copies(counts, 64, 0) for counts in drawn])),
        with_copies=float(np.mean([busiest_with_copies(counts, 64, 64) for counts in drawn])),
    )


def check_tokens_for_share() -> None:
    """With that many tokens each pays at most the share, with one fewer it pays more, and for a
    half about 1.6 E/k are needed.

    Source: the chapter's formula, in loops; (1 - exp(-x))/x = 1/2 at x = 1.5936, in the limit.
    """
    for share, experts, chosen in ((0.9, 8, 2), (0.3, 160, 6), (0.05, 512, 10)):
        got = tokens_for_share(share, experts, chosen)
        paid = [experts / b * (1 - (1 - chosen / experts) ** b) / chosen for b in (got, got - 1)]
        checks.holds(f"{share} of {experts}", paid[0] <= share < paid[1], got=got)
    many = tokens_for_share(0.5, 8192, 2)
    checks.close("half", many / 4096, 1.5936, rtol=1e-3)


def check_step_longer() -> None:
    """If the balance halves, the experts' part doubles; if experts take no time, nothing changes;
    and a balance that returns undoes the change.

    Source: by hand: of 10 ms, 3 ms for experts become 6 ms.
    """
    checks.close("halved", step_longer(0.3, 0.9, 0.45), 1.3, rtol=1e-12)
    checks.close("no experts", step_longer(0.0, 0.9, 0.1), 1.0, rtol=1e-12)
    there = step_longer(0.6, 0.95, 0.5)
    share = 0.6 * (0.95 / 0.5) / there
    checks.close("and back", there * step_longer(share, 0.5, 0.95), 1.0, rtol=1e-12)


def check_copies() -> None:
    """The busiest device has the load that is found by hand, and in fifty draws, with 16 copies on
    eight devices, at most a fifth more than the mean.

    Source: by hand: loads 6, 1, 1, 2 on two devices without copies are 7 and 3, 1.4 times the mean;
    of 5 equal loads with one copy, the halves go to different devices; five fifths of one expert
    go to four devices, two of them to one; two copies halve 12 and 10, for 9 + 2, 6 + 5 and 6 + 5.
    """
    checks.close("no copies", busiest_with_copies([6, 1, 1, 2], 2, 0), 1.4, rtol=1e-12)
    checks.close("one copy", busiest_with_copies([4, 4, 4, 4, 4], 2, 1), 1.0, rtol=1e-12)
    checks.close("two copies", busiest_with_copies([12, 10, 9, 2], 3, 2), 1.0, rtol=1e-12)
    checks.close("all on one", busiest_with_copies([9, 0, 0, 0], 4, 0), 4.0, rtol=1e-12)
    checks.close("four copies", busiest_with_copies([9, 0, 0, 0], 4, 4), 1.6, rtol=1e-12)
    rng = np.random.default_rng(5)
    found = [busiest_with_copies(rng.pareto(1.2, 64), 8, 16) for _ in range(50)]
    checks.inside("fifty draws", min(found), 1.0, 1.2)


def check_bad_input_is_refused() -> None:
    """A share of one, a token that takes every expert, a balance of zero and places that cannot be
    split evenly are errors that name the argument."""
    checks.raises("all of it", tokens_for_share, 1.0, 8, 2, match="share must be in")
    checks.raises("every expert", tokens_for_share, 0.5, 8, 8, match="chosen must be below")
    checks.raises("no balance", step_longer, 0.4, 0.9, 0.0, match="balance_now must be in")
    checks.raises("odd", busiest_with_copies, [1, 2, 3, 4], 4, 1, match="copies must be so that 4")
