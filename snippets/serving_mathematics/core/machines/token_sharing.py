"""What can be said of a machine without simulating it, and how far it is off.

Prompts take the share λp of every second, and decoding gets the rest. Who gets a token is in the
step himself, beside the b that decode on average. Little's law for those, with m tokens after the
first and a step of D, is

    b = λ m D(b + 1)/(1 − λp),   with D(b) = s + db:   b = λ m (s + d)/(1 − λp − λ m d),

which ends at λ = 1/(p + md): all that a request's own tokens cost, the limit of many places.

How often all c places are taken is asked in two ways. Erlang's chance takes the time in the engine
for a law that does not know who else is there. An engine with n inside finishes X(n) =
1/(p + m D(n)/n) requests a second, and the number inside is then a birth-and-death process: n + 1
are as likely as n times λ/X(n + 1), with X(c) for all beyond. It is the sharing of a processor,
whose answer does not depend on the law of lengths.

`python -m serving_mathematics.core.machines.token_sharing` simulates 320,000 requests, in a few
seconds, and writes records/token_sharing.json.gz.

Assumes: Poisson arrivals, prompts spread evenly, memory that lasts.

Source: Little (1961); Erlang (1917); Kelly (1979), symmetric queues, section 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from serving_mathematics.core.machines.machines import CHAT, MIXTURE, Machine
from serving_mathematics.core.machines.running import run_engine
from serving_mathematics.core.queues.erlang import erlang_c
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import recorded
from serving_mathematics.support.require import require, require_positive


@dataclass(frozen=True)
class StepLine:
    """A step of b sequences as a line, s + db [s], and what a mean prompt costs beside it [s]."""

    fixed_s: float
    sequence_s: float
    prompt_s: float
    later_tokens: float  # of a mean answer, after its first

    @property
    def most_per_s(self) -> float:
        """Requests a second that no number of places exceeds."""
        return 1 / (self.prompt_s + self.later_tokens * self.sequence_s)


@dataclass(frozen=True)
class Shared:
    """What the closed form says."""

    sequences: float  # that decode, on average
    tpot_s: float
    inside: float  # requests in the engine, those whose prompts are read included
    erlang: float  # chance that an arrival finds every place taken, by Erlang's formula
    all_taken: float  # the same by the sharing of a processor


def step_line(machine: Machine) -> StepLine:
    """The line through steps of one sequence and of all places, at the mean context.

    >>> from serving_mathematics.core.machines.machines import CHAT
    >>> line = step_line(CHAT)
    >>> 0.006 < line.fixed_s < 0.008 and line.most_per_s > CHAT.ceiling_per_s
    True
    """
    low, high = machine.step_s([1.0, machine.places]).tolist()
    slope = (high - low) / max(machine.places - 1, 1)
    lengths = machine.sample
    prompt = float(machine.prompt_s(lengths.prompt_tokens, lengths.cached_tokens).mean())
    return StepLine(low - slope, slope, prompt, float(lengths.output_tokens.mean()) - 1)


def share_tokens(machine: Machine, rate_per_s: float) -> Shared:
    """Sequences, time per token and the chance to find all places taken, at a rate.

    rate_per_s: λ. Raises ValueError unless it is positive, and below what all places carry.

    >>> from serving_mathematics.core.machines.machines import CHAT
    >>> bool(0.009 < share_tokens(CHAT, 10.0).tpot_s < 0.014)
    True
    """
    rate_per_s = require_positive(rate_per_s=rate_per_s)
    line = step_line(machine)
    counts = np.arange(float(machine.places))  # of those beside who is timed
    steps_s = machine.step_s(counts + 1)
    left = 1 - rate_per_s * line.prompt_s
    full_s = line.prompt_s + line.later_tokens * float(steps_s[-1]) / machine.places
    rule = f"below the {1 / full_s:.4g}/s that {machine.places} places carry"
    require(left > 0 and rate_per_s * full_s < 1, "rate_per_s", rule, rate_per_s)
    beyond = rate_per_s * line.later_tokens * steps_s / left - counts
    met = np.flatnonzero(beyond <= 0)  # counts at which more are finished than come
    first = int(met[0]) if met.size else machine.places - 1
    beside = first - 1 + beyond[first - 1] / (beyond[first - 1] - beyond[first]) if first else 0.0
    tpot_s = float(np.interp(beside, counts, steps_s)) / left
    sequences = rate_per_s * line.later_tokens * tpot_s
    inside = sequences + rate_per_s * (tpot_s + line.prompt_s / left)
    erlang = erlang_c(machine.places, inside) if inside < machine.places else 1.0
    erlang = erlang if erlang > 1e-300 else 0.0  # what has few digits is nothing
    inside_at = counts + 1
    rates = inside_at / (inside_at * line.prompt_s + line.later_tokens * steps_s)
    logs = np.append(0.0, np.cumsum(np.log(rate_per_s / rates)))  # of the weights of 0 to c inside
    weights = np.exp(logs - logs.max())
    tail = float(weights[-1]) / (1 - rate_per_s * full_s)
    taken = tail / (float(weights[:-1].sum()) + tail)
    return Shared(sequences, tpot_s, inside, erlang, taken if taken > 1e-300 else 0.0)


class _Simulated(NamedTuple):
    """Mean time per token [s] and the share of arrivals that find all places taken."""

    tpot_s: float
    taken: float


@recorded(_Simulated, "token_sharing")
def _simulated(machine: Machine, load: float, requests: int = 40_000) -> _Simulated:
    """A machine at a share of its ceiling, without the first tenth of the requests."""
    run = run_engine(machine, load * machine.ceiling_per_s, requests, np.random.default_rng(3))
    warm = requests // 10
    seen = run.series(np.nextafter(run.arrival_s[warm:], 0.0))
    taken = float((seen.running >= machine.places).mean())
    return _Simulated(run.token_s(warm), taken)


def check_time_per_token_against_the_simulator() -> None:
    """The mean time per token is within 1% of the simulator's for short conversations with all
    places, at any load; for long ones, whose prompts stop everybody for seconds, it is up to a
    fifth below.

    Source: `event_skipping`, 36,000 requests at each load.
    """
    for machine, low, high in ((CHAT, 0.99, 1.01), (MIXTURE, 0.8, 0.96)):
        for load in (0.3, 0.6, 0.9):
            told = share_tokens(machine, load * machine.ceiling_per_s).tpot_s
            ratio = told / _simulated(machine, load).tpot_s
            label = f"{machine.name} at {100 * load:.0f}%, closed form over simulated"
            checks.inside(label, ratio, low, high, kind="simulation")


def check_erlang_sees_too_few_full_engines() -> None:
    """With 64 places the sharing of a processor says within a third how often all are taken, from
    90% of the ceiling on; Erlang's formula says less than two thirds of it.

    Source: `event_skipping`, as above.
    """
    few = CHAT.limited(64)
    for load in (0.9, 0.95):
        told, taken = share_tokens(few, load * few.ceiling_per_s), _simulated(few, load).taken
        label = f"at {100 * load:.0f}%"
        checks.inside(
            f"{label}, sharing: all taken, told over simulated",
            told.all_taken / taken,
            0.67,
            1.33,
            kind="simulation",
        )
        checks.inside(
            f"{label}, Erlang: all taken, told over simulated", told.erlang / taken, 0.0, 0.67
        )


def check_a_run_is_made_again() -> None:
    """A run of the record that is made again shows the same.

    Source: the record, and its command.
    """
    run = MIXTURE, 0.5, 4000
    checks.close(
        "mixture at 50%", _simulated.again(*run), _simulated(*run), rtol=1e-6, kind="simulation"
    )


def check_line_by_hand() -> None:
    """Where a step is a line, the root of Little's law is λm(s + d)/(1 − λp − λmd).

    Source: the formula above, at half the ceiling of a dense model, whose step is a line.
    """
    line, rate = step_line(CHAT), 0.5 * CHAT.ceiling_per_s
    own = line.prompt_s + line.later_tokens * line.sequence_s
    alone_s = line.fixed_s + line.sequence_s
    by_hand = rate * line.later_tokens * alone_s / (1 - rate * own)
    checks.close("sequences", share_tokens(CHAT, rate).sequences, by_hand, rtol=1e-6)


if __name__ == "__main__":
    _simulated.make()
