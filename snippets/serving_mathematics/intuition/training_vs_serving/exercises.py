"""Solutions: replicas by hand, headroom from a dashboard, and the demand behind a released model.

A replica carries (1 − (s + d)/τ*)/(p + md). Time per token now says what a request costs of its
own, and with it the rate at which the promise ends. The optimum's condition read backwards gives
the demand for which a model on the market is right.

Assumes: the chapter's models.

Source: Little (1961); Sardana et al. (2024) for the objective; the conditions are derived in the
chapter.
"""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.machines.machines import AGENTS, CHAT, SHORT_MIXTURE, Machine
from serving_mathematics.core.machines.running import run_engine
from serving_mathematics.intuition.training_vs_serving.deployment_choice import (
    Replica,
    fewest_replicas,
)
from serving_mathematics.intuition.training_vs_serving.training_vs_serving import (
    REFITTED,
    UNROUNDED,
    ScalingLaw,
    compute_optimal_tokens,
    lifetime_optimum,
    loss,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import as_number, require, require_positive

HINTS = {
    "implied_demand": (
        "At the optimum for a demand, a small change of size at equal loss no longer changes the"
        " lifetime cost. Set the derivative along the equal-loss curve to zero and solve for "
        "the served tokens."
    ),
    "replicas_by_hand": (
        "The time per token is a lone step divided by what is left of a second, 1 − λ·own. Set it"
        " equal to the promise, and solve for the rate of one replica."
    ),
    "headroom": (
        "What is left of a second is a lone step divided by the time per token: now, and at the "
        "promise. The rest of the second grows with the rate. Running requests are λm times the "
        "time per token: at the rate to be found, at most as many as there are places."
    ),
}


def implied_demand(law: ScalingLaw, parameters: float, tokens: float) -> float:
    """Served tokens for which a model, as it was trained, is the cheapest of its loss.

    law: constants of the scaling law. parameters: N. tokens: D, no fewer than the compute-optimal
    ones, below which the model is too large for any demand. Raises ValueError outside these ranges.

    >>> implied_demand(ScalingLaw(1.0, 4.0, 9.0, 0.5, 0.5), parameters=16.0, tokens=324.0)
    972.0
    """
    parameters, tokens = as_number(parameters=parameters, tokens=tokens)
    least = compute_optimal_tokens(law, parameters)
    require(
        least <= tokens < math.inf, "tokens", f"finite and ≥ {least:.6g}, compute-optimal", tokens
    )
    size, data = law.a / parameters**law.alpha, law.b / tokens**law.beta
    return float(3 * tokens * (law.alpha * size / (law.beta * data) - 1))


def replicas_by_hand(requests_per_s: float, step_s: float, own_s: float, limit_s: float) -> int:
    """Fewest replicas that keep a promised time per token at a rate.

    requests_per_s: λ. step_s: of a lone sequence [s]. own_s: p + md, what a request costs of its
    own [s]. limit_s: τ*, promised time per token [s], above step_s. Raises ValueError unless all
    are positive and τ* is above step_s.

    >>> replicas_by_hand(12.0, step_s=0.01, own_s=0.25, limit_s=0.02)
    6
    """
    requests_per_s, step_s, own_s = require_positive(
        requests_per_s=requests_per_s, step_s=step_s, own_s=own_s
    )
    limit_s = require_positive(limit_s=limit_s)
    require(limit_s > step_s, "limit_s", f"above {step_s:g}, the step of a lone sequence", limit_s)
    return math.ceil(requests_per_s * own_s / (1 - step_s / limit_s) * (1 - 1e-12))


def headroom(
    requests_per_s: float,
    gap_s: float,
    alone_s: float,
    limit_s: float,
    running: float,
    places: float,
) -> float:
    """Requests a second up to which an engine keeps a promise, from what its dashboard shows, where
    a step is linear in its sequences and prompts cost no more than now: the smaller of the rate at
    which tokens take the promised time, and nine tenths of the rate that takes all places.

    requests_per_s: λ now. gap_s: time per token now [s], above alone_s. alone_s: that of a lone
    sequence [s]. limit_s: the promise [s], above alone_s. running: requests that run now, in the
    mean. places: sequences at once, at most. Raises ValueError outside these ranges.

    >>> round(headroom(6.0, gap_s=0.02, alone_s=0.01, limit_s=0.04, running=30, places=300), 9)
    9.0
    >>> round(headroom(6.0, gap_s=0.02, alone_s=0.01, limit_s=0.04, running=30, places=30), 9)
    5.4
    """
    requests_per_s, alone_s = require_positive(requests_per_s=requests_per_s, alone_s=alone_s)
    running, places = require_positive(running=running, places=places)
    gap_s, limit_s = require_positive(gap_s=gap_s, limit_s=limit_s)
    require(gap_s > alone_s, "gap_s", f"above {alone_s:g}, that of a lone sequence", gap_s)
    require(limit_s > alone_s, "limit_s", f"above {alone_s:g}, that of a lone sequence", limit_s)
    own_s = (1 - alone_s / gap_s) / requests_per_s
    later_tokens = running / (requests_per_s * gap_s)
    full = places / (later_tokens * alone_s + places * own_s)
    return min((1 - alone_s / limit_s) / own_s, 0.9 * full)


def example() -> SimpleNamespace:
    """Answers to the exercises; demand in trillions of tokens."""
    return SimpleNamespace(
        pencil=replicas_by_hand(20.0, 0.012, 0.1, 0.030),
        board=headroom(6.0, 0.028, 0.012, 0.036, 40, 256),
        board_few=headroom(6.0, 0.028, 0.012, 0.036, 40, 64),
        llama_demand_t=implied_demand(UNROUNDED, 8e9, 15e12) / 1e12,
        llama_demand_refit_t=implied_demand(REFITTED, 8e9, 15e12) / 1e12,
    )


def check_implied_demand() -> None:
    """A model is the optimum that a search finds for the demand that the model implies.

    Source: the chapter's bisection at the loss of the model; and the least of 20,000 sizes.
    """
    for law, size, tokens in ((UNROUNDED, 8e9, 15e12), (REFITTED, 3e9, 9e12)):
        demand, target = implied_demand(law, size, tokens), loss(law, size, tokens)
        best = lifetime_optimum(law, target, demand)
        checks.close(f"bisection, N = {size:.0e}", best.parameters, size, rtol=1e-9)
        sizes = size * np.geomspace(0.8, 1.3, 20_000)
        curve = (law.b / (target - law.irreducible - law.a / sizes**law.alpha)) ** (1 / law.beta)
        least = sizes[np.argmin(3 * sizes * curve + sizes * demand)]
        checks.close(f"search, N = {size:.0e}", size, float(least), rtol=1e-3)


def check_replicas_by_the_law() -> None:
    """The count is that of the chapter's search, for a replica with endless places.

    Source: `fewest_replicas` with d = 0.1 ms and m = 200 of the own work.
    """
    for rate, step, own, limit in ((20.0, 0.012, 0.1, 0.03), (3.0, 0.02, 0.5, 0.021)):
        one = Replica("toy", 50.0, step, 1e-4, own - 0.02, 200, 1e9, 1.0)
        told = replicas_by_hand(rate, step, own, limit)
        checks.equal(f"{rate:g} a second", told, fewest_replicas(one, rate, limit))
    checks.equal("all that two carry", replicas_by_hand(2.0, 0.25, 0.5, 0.5), 2)


def check_headroom_of_an_engine() -> None:
    """At the rate computed for 25 ms from a simulated engine at half its ceiling, a token takes 25
    ms on average, within 6%. With 16 places, the computed rate keeps the mean first token below a
    second, though more than one in ten takes longer; at a rate a quarter higher, the mean is above
    a second. At the rates computed at 30% of the ceiling for four times a lone sequence's time per
    token, a mixture with short contexts stays at least a quarter below that time; agents, whose
    prefixes are then forgotten, take more than twice as long.

    Source: `event_skipping`, the three machines, 10,000 requests at each rate; 3,000 of agents.
    """

    @functools.cache
    def seen(rate: float, machine: Machine) -> tuple[float, float, float, float]:
        """Time per token and of the first one [s], the share of late ones, and requests that
        run."""
        requests = 3_000 if machine is AGENTS else 10_000
        run = run_engine(machine, rate, requests, np.random.default_rng(5))
        late = float(np.mean(run.ttft_s > machine.promise.ttft_s))
        running = rate * float((run.completion_s - run.admitted_s).mean())
        return run.token_s(), float(run.ttft_s.mean()), late, running

    def told(load: float, machine: Machine, limit_s: float) -> float:
        """What an engine at a share of its ceiling may take."""
        now, alone_s = load * machine.ceiling_per_s, float(machine.step_s(1))
        gap_s, _, _, running = seen(now, machine)
        return headroom(now, gap_s, alone_s, limit_s, running, machine.places)

    by_hand = headroom(3.0, 0.03, 0.01, 0.02, 1, 1000)
    checks.close("by hand", by_hand, 3 * (1 / 2) / (2 / 3), rtol=1e-12)
    there = 1e3 * seen(told(0.5, CHAT, 0.025), CHAT)[0]
    checks.close("time per token there [ms]", there, 25.0, rtol=0.06, kind="simulation")
    few = CHAT.limited(16)
    most = told(0.5, few, 0.05)
    for times, low, high in ((1.0, 0.0, 1.0), (1.25, 1.0, 1e3)):
        first_s = seen(times * most, few)[1]
        label = f"16 places, {times:g} times the rate: first token [s]"
        checks.inside(label, first_s, low, high)
    late = seen(most, few)[2]
    checks.inside("16 places, at that rate: first tokens late", late, 0.1, 0.3)
    for label, machine, low, high in (
        ("a mixture with short contexts: of the limit", SHORT_MIXTURE, 0.6, 0.75),
        ("agents: of the limit", AGENTS, 2.0, 4.0),
    ):
        limit_s = 4 * float(machine.step_s(1))
        ratio = seen(told(0.3, machine, limit_s), machine)[0] / limit_s
        checks.inside(label, ratio, low, high)


def check_bad_input_is_refused() -> None:
    """Models that were trained too little, and promises below a lone step, are errors."""
    checks.raises("undertrained", implied_demand, REFITTED, 175e9, 300e9, match="tokens must be")
    checks.raises("too strict", replicas_by_hand, 9.0, 0.02, 0.1, 0.02, match="limit_s must be")
    checks.raises("idle", headroom, 6.0, 0.01, 0.01, 0.04, 1, 9, match="gap_s must be above")
