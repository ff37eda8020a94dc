"""Solutions: an answer's share by hand, a price from a dashboard, and its floor from two hours.

A token's price is the engine's price over the tokens that it writes. Running sequences over tokens
a second are the time per token, by Little's law; two hours with different loads lie on the line
s + bu, whose slope is what no company makes cheaper.

Assumes: steps that are a line in the sequences, lengths of the same mean in both hours.

Source: Little (1961); the definitions of the chapter.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.hardware.roofline import cost_per_million
from serving_mathematics.core.machines.machines import CHAT, SHORT_MIXTURE
from serving_mathematics.core.machines.running import run_engine
from serving_mathematics.intuition.latency_throughput_cost.latency_throughput_cost import (
    _MACHINES,
    _Law,
    answers_per_s,
    token_gap_s,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require,
    require_all_positive,
    require_non_negative,
    require_positive,
    require_positive_integer,
)

HINTS = {
    "doubling_batch": (
        "A lone sequence waits s + d, and each further one adds d + p/m for everybody. Find how"
        " many further ones add as much as the lone one waits."
    ),
    "price_on_dashboard": (
        "The answers pay for the whole hour, so divide the price of a second by the tokens that "
        "are written in it. By Little's law, the wait is running / tokens a second."
    ),
    "line_of_two_hours": (
        "Running requests divided by tokens a second are the time per token of each hour. Draw the"
        " line through both; the price that no load undercuts is that of its slope alone."
    ),
}


def doubling_batch(fixed_s: float, sequence_s: float, prompt_s: float, later_tokens: int) -> float:
    """Sequences whose time per token is twice that of one.

    fixed_s: s [s]. sequence_s: d [s]. prompt_s: p [s]. later_tokens: m. Raises ValueError unless s
    is positive, d and p are not negative and not both 0, and m is a positive integer.

    >>> doubling_batch(fixed_s=0.5, sequence_s=0.125, prompt_s=12.5, later_tokens=100)
    3.5
    """
    fixed_s = require_positive(fixed_s=fixed_s)
    sequence_s, prompt_s = require_non_negative(sequence_s=sequence_s, prompt_s=prompt_s)
    later_tokens = require_positive_integer(later_tokens=later_tokens)
    own_s = sequence_s + prompt_s / later_tokens
    require(own_s > 0, "sequence_s", "positive where prompts cost nothing", sequence_s)
    return 1 + (fixed_s + sequence_s) / own_s


def price_on_dashboard(
    price_per_hour: float, running: float, tokens_per_s: float
) -> tuple[float, float]:
    """Price of a million tokens, and how long a reader waits for one [ms].

    price_per_hour: C of all devices. running: sequences, on average. tokens_per_s: of answers.
    Raises ValueError unless all are positive and finite.

    >>> price_on_dashboard(price_per_hour=3.6, running=10, tokens_per_s=500)
    (2.0, 20.0)
    """
    running, tokens_per_s = require_positive(running=running, tokens_per_s=tokens_per_s)
    return float(cost_per_million(price_per_hour, tokens_per_s)), 1000 * running / tokens_per_s


def line_of_two_hours(
    price_per_hour: float, quiet: tuple[float, float], busy: tuple[float, float]
) -> tuple[float, float]:
    """Sequences at which the time per token is twice that of one, and the price of endless
    sequences, where the time per token is a line; a mixture with short contexts goes below it.

    price_per_hour: C. quiet, busy: (running, tokens a second) of two hours. Raises ValueError
    unless all are positive, more run in the busy hour, and the line has a positive height and
    slope.

    >>> twice, floor = line_of_two_hours(3.6, quiet=(10, 1000), busy=(30, 2000))
    >>> round(twice, 9), round(floor, 9)
    (32.0, 0.25)
    """
    price_per_hour = require_positive(price_per_hour=price_per_hour)
    gaps = []
    quiet, busy = require_all_positive(quiet=quiet, busy=busy)
    for running, rate in (quiet, busy):
        gaps.append(running / rate)
    require(busy[0] > quiet[0], "busy", "an hour in which more run", busy)
    slope = (gaps[1] - gaps[0]) / (busy[0] - quiet[0])
    height = gaps[0] - slope * quiet[0]
    rising = slope > 0 and height > 0
    require(rising, "busy", "slower than the quiet hour, by less than the load", busy)
    return 2 + height / slope, 1e6 * price_per_hour / 3600 * slope


def example() -> SimpleNamespace:
    """Answers to the exercises, in the unit that the name says."""
    price, wait = price_on_dashboard(20.0, 24, 600)
    twice, floor = line_of_two_hours(20.0, (6, 300), (24, 600))
    return SimpleNamespace(
        pencil=doubling_batch(0.006, 0.00008, 0.024, 200),
        board_price=price,
        board_ms=wait,
        line_twice=twice,
        line_floor=floor,
    )


def check_doubling_by_the_law() -> None:
    """With so many sequences, the time per token is twice that of one sequence, and the throughput
    at least half of what endless sequences reach. From the first step and the slope of the book's
    machines, the solution finds where their time per token has doubled, to one sequence.

    Source: `token_gap_s` and `answers_per_s` with a step of s + db; the times of three machines,
    whose steps are not exactly lines, sequence by sequence.
    """
    for fixed, own, prompt, later in (
        (0.006, 0.0001, 0.02, 200),
        (0.006, 0.0, 0.02, 200),
        (0.011, 0.0005, 0.4, 343),
    ):
        batch = doubling_batch(fixed, own, prompt, later)
        step = fixed + own * batch
        gap = float(token_gap_s(batch, step, prompt, later))
        checks.close("over a lone one", gap / (fixed + own), 2.0, rtol=1e-12)
        rate = later * float(answers_per_s(batch, step, prompt, later))
        checks.inside("over the ceiling", rate * (own + prompt / later), 0.5, 0.6)
    for name, machine in _MACHINES.items():
        law = _Law(machine)
        first, last = law.step_s([1, law.twice]).tolist()
        own = (last - first) / (law.twice - 1)
        told = doubling_batch(first - own, own, law.prompt_s, round(law.later))
        checks.close(f"{name}, sequences", told, law.twice, atol=1.0)


def check_dashboard_of_an_engine() -> None:
    """Running sequences over tokens a second is how long readers of a simulated engine wait for a
    token, within 2%, and the price is that of its tokens.

    Source: `event_skipping`, at nine tenths of what the chat machine carries; times of each answer.
    """
    run = run_engine(CHAT, 0.9 * CHAT.ceiling_per_s, 8000, np.random.default_rng(8))
    span = float(run.completion_s.max() - run.arrival_s[0])
    moments = run.arrival_s[0] + (np.arange(20_000) + 0.5) / 20_000 * span
    seen = run.series(moments)
    writing = float((seen.running - seen.prompts).mean())
    rate = float((run.output_tokens - 1).sum()) / span
    price, wait = price_on_dashboard(2.0, writing, rate)
    checks.close("per token [ms]", wait, 1e3 * run.token_s(), rtol=0.02, kind="simulation")
    bill = 2.0 * span / 3600 * 1e6 / float((run.output_tokens - 1).sum())
    checks.close("price [$]", price, bill, rtol=1e-9)


def check_line_of_two_hours() -> None:
    """Two hours on a line give back its constants and the price that no load undercuts; a mixture
    with short contexts undercuts it.

    Source: τ = 8 ms + 0.5 ms b at 4 and at 40 sequences; 17 ms at 18, and 0.5 ms of $1.80 an hour;
    the mixture's law at 4, 32 and 256.
    """
    quiet, busy = (4.0, 4 / 0.010), (40.0, 40 / 0.028)
    twice, floor = line_of_two_hours(1.8, quiet, busy)
    checks.close("twice 8.5 ms", twice, 18.0, rtol=1e-9)
    checks.close("floor [$]", floor, 0.25, rtol=1e-9)
    checks.holds("below both prices", floor < price_on_dashboard(1.8, *busy)[0])
    law = _Law(SHORT_MIXTURE)
    hours = [(b, b / float(law.gap_s(b))) for b in (4.0, 32.0)]
    told = line_of_two_hours(SHORT_MIXTURE.price_per_hour, *hours)[1]
    checks.holds(
        "not of short contexts on a mixture", float(law.price(SHORT_MIXTURE.places)) < 0.8 * told
    )


def check_bad_input_is_refused() -> None:
    """Sequences that cost nothing, nobody running, and a busy hour that is not busier or not slower
    are refused."""
    checks.raises("free", doubling_batch, 0.01, 0.0, 0.0, 9, match="sequence_s must be positive")
    checks.raises("nobody", price_on_dashboard, 2.0, 0, 9.0, match="running must be positive")
    checks.raises("less", line_of_two_hours, 2.0, (9, 9), (8, 9), match="busy must be an hour")
    checks.raises("faster", line_of_two_hours, 2.0, (9, 9), (18, 36), match="busy must be slower")
