"""Which key to sort by: what is known of a request helps, and what is guessed is paid by the rest.

An order only decides who gets the next place, block or step. Where prompts are long, requests wait
for prompts in front of them; the tokens of a prompt that no cache holds are known on arrival, and
going by them shortens nearly everybody's first token. A key of

    arrival + k · (time of the prompt)

does so with a bound: whoever comes more than k times a prompt's time later does not overtake it.
k = 0 is the order of arrival, and a large k is shortest prompt first. The length of an answer is
not known; going by a guess of it shortens the mean a little and lengthens the tail.

Assumes: what `admission_order` assumes; Poisson arrivals, or the minutes of a trace.

Source: Fu et al. (2024) for shortest predicted answer first; TensorRT-LLM's
`shortest_uncached_first` for the other key.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.admission_order import Ordered, serve_in_order
from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.machines.machines import CHAT, MIXTURE, Machine
from serving_mathematics.core.machines.traffic import draw_arrivals, draw_lengths
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_finite,
    require_all_non_negative,
    require_non_negative,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

REQUESTS = {"chat": 2000, "mixture": 1000}  # the first tenth is left out
SLACKS = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0)
SLACK = 30.0
WAIT_S = 10.0  # promised for the first token, by choice


def slack_key(arrival_s: npt.ArrayLike, prompt_s: npt.ArrayLike, slack: float) -> FloatArray:
    """The key of each request: the smallest goes first [s], shape (n,).

    arrival_s: times [s], shape (n,). prompt_s: of the part of each prompt that no cache holds [s],
    non-negative, shape (n,). slack: k, non-negative; 0 keeps the order of arrival. Raises
    ValueError on anything else.

    >>> slack_key([0.0, 1.0, 2.0], [4.0, 0.1, 0.1], slack=10.0).tolist()
    [40.0, 2.0, 3.0]
    """
    arrivals, prompts = as_floats(arrival_s=arrival_s), as_floats(prompt_s=prompt_s)
    require_all_finite(arrival_s=arrivals)
    require_all_non_negative(prompt_s=prompts)
    require(
        arrivals.shape == prompts.shape, "prompt_s", f"of shape {arrivals.shape}", prompts.shape
    )
    slack = require_non_negative(slack=slack)
    return np.asarray(arrivals + slack * prompts)


@functools.cache
def _asked(machine: Machine, load: float, minutes: bool = False) -> Workload:
    rng, count = np.random.default_rng(1), REQUESTS[machine.name]
    lengths = draw_lengths(rng, machine.traffic, count)
    follows = machine.traffic if minutes else ""
    arrivals = draw_arrivals(rng, load * machine.ceiling_per_s, count, follows)
    columns = lengths.prompt_tokens, lengths.output_tokens, lengths.cached_tokens
    return Workload(arrivals, *columns)


def _noise(size: int, error: float) -> FloatArray:
    return np.asarray(np.exp(error * np.random.default_rng(3).standard_normal(size)))


@functools.cache
def _served(
    machine: Machine,
    load: float,
    by: str,
    slack: float = SLACK,
    error: float = 0.0,
    minutes: bool = False,
) -> tuple[FloatArray, FloatArray]:
    """Time to the first token, and of the whole answer [s], without the first tenth.

    by: "arrival", "prompt" or "answer". error: ε, standard deviation of ln(told/true) of the key.
    """
    asked = _asked(machine, load, minutes)
    size = asked.arrival_s.size
    if by == "answer":
        key = asked.output_tokens * _noise(size, error)
    else:
        prompts = machine.prompt_s(asked.prompt_tokens, asked.cached_tokens)
        prompts = prompts * _noise(size, error)
        key = slack_key(asked.arrival_s, prompts, slack if by == "prompt" else 0.0)
    served: Ordered = serve_in_order(asked, machine.engine, key)
    late = slice(size // 10, None)
    first = (served.first_token_s - asked.arrival_s)[late]
    return first, (served.completion_s - asked.arrival_s)[late]


def _kept(machine: Machine, load: float, slack: float, error: float = 0.0) -> float:
    """Share of the first tokens within the promise [%]."""
    return 100 * float((_served(machine, load, "prompt", slack, error)[0] <= WAIT_S).mean())


def _p90(values: FloatArray) -> float:
    return float(np.quantile(values, 0.9))


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    before, after = (_served(MIXTURE, 0.95, "prompt", slack)[0] for slack in (0.0, SLACK))
    guess = _served(MIXTURE, 0.95, "answer", error=1.0)[0]
    return SimpleNamespace(
        kept_before=_kept(MIXTURE, 0.95, 0.0),
        kept_after=_kept(MIXTURE, 0.95, SLACK),
        longest_before_s=float(before.max()),
        longest_after_s=float(after.max()),
        guess_tail_times=float(np.quantile(guess, 0.99) / np.quantile(before, 0.99)),
        prompt_share_percent=100 * MIXTURE.ceiling_per_s * _mean_prompt_s(MIXTURE),
    )


def _mean_prompt_s(machine: Machine) -> float:
    lengths = machine.sample
    return float(machine.prompt_s(lengths.prompt_tokens, lengths.cached_tokens).mean())


def figure_slack(figure: Figure) -> None:
    """A long prompt makes all behind it wait: much slack in favour of short ones keeps the promise
    for most, a little does next to nothing, and the longest pay.

    First tokens within ten seconds on the mixture, at three loads; slack 0 is the order of arrival.
    Dashed: the chat machine with 64 places at its ceiling, where prompts are short and nothing is
    gained.

    Alt: Share of first tokens in time against the slack, on a logarithmic axis that begins with no
    slack. Three curves rise from low values at no slack to above nine tenths at the right end; the
    lower the load, the higher they start. A dashed line is level at the top.
    """
    axes = figure.subplots()
    places = np.arange(len(SLACKS))
    for load, colour, at in ((0.8, "C0", 0.05), (0.95, "C1", 2.35), (1.05, "C3", 3.2)):
        kept = [_kept(MIXTURE, load, slack) for slack in SLACKS]
        axes.plot(places, kept, "o-", color=colour)
        height = kept[0] + 4 if load < 0.9 else 47 if load < 1 else 33
        axes.annotate(f"{100 * load:.0f}% load", (at, height), color=colour)
    few = CHAT.limited(64)
    axes.plot(places, [_kept(few, 0.95, slack) for slack in SLACKS], "--", color="C4")
    axes.annotate("chat", (2.6, 102), color="C4")
    axes.set_xticks(places, [f"{slack:.0f}" for slack in SLACKS])
    axes.set(ylim=(0, 110), xlabel="slack k [1]", ylabel="first tokens within 10 s [%]")


def check_known_prompts_beat_guessed_answers() -> None:
    """On the mixture, going by the uncached prompt with a slack of 30 shortens the p90 of the first
    token to less than half at 95% load, with prompt times known to a fifth too and at the rate of
    the trace's minutes; going by answers guessed with an error of 1 lengthens the p99 to more than
    twice that of the order of arrival, and does not even halve the p90.

    Source: `serve_in_order` on the same thousand requests.
    """
    for label, error, minutes in (
        ("as known", 0.0, False),
        ("to a fifth", 0.2, False),
        ("real minutes", 0.0, True),
    ):
        before = _served(MIXTURE, 0.95, "arrival", minutes=minutes)[0]
        after = _served(MIXTURE, 0.95, "prompt", error=error, minutes=minutes)[0]
        ratio = _p90(after) / _p90(before)
        checks.inside(f"{label}: p90, prompt over arrival", ratio, 0, 0.5, kind="simulation")
    before = _served(MIXTURE, 0.95, "arrival")[0]
    guess = _served(MIXTURE, 0.95, "answer", error=1.0)[0]
    tail = float(np.quantile(guess, 0.99) / np.quantile(before, 0.99))
    checks.inside("guessed answers: p99 over arrival", tail, 2, 20, kind="simulation")
    checks.inside("and p90", _p90(guess) / _p90(before), 0.5, 1.5, kind="simulation")


def check_order_matters_where_requests_wait() -> None:
    """On the chat machine with 64 places and 80% load no key changes the mean by more than 1%; with
    16 places and 5% more than it carries, shortest answer first takes a quarter off the mean and
    makes the p99 more than twice as long.

    Source: `serve_in_order` on the same two thousand requests.
    """
    few = CHAT.limited(64)
    plain = float(_served(few, 0.8, "arrival")[1].mean())
    for by in ("answer", "prompt"):
        mean = float(_served(few, 0.8, by)[1].mean())
        checks.close(f"64 places, by {by}: mean", mean / plain, 1.0, rtol=0.01, kind="simulation")
    full = CHAT.limited(16)
    before, after = (_served(full, 1.05, by)[1] for by in ("arrival", "answer"))
    ratio = float(after.mean() / before.mean())
    checks.inside("16 places: mean, answer over arrival", ratio, 0, 0.75, kind="simulation")
    tail = float(np.quantile(after, 0.99) / np.quantile(before, 0.99))
    checks.inside("16 places: p99", tail, 2, 20, kind="simulation")


def check_slack_bounds_overtaking() -> None:
    """Nobody is overtaken by a request that came later than its slack: k times the difference of
    their prompts.

    Source: each pair of one run, in the order in which they were let in.
    """
    asked = _asked(MIXTURE, 1.05).part(slice(0, 200))
    prompts = MIXTURE.prompt_s(asked.prompt_tokens, asked.cached_tokens)
    for slack in (3.0, 30.0):
        key = slack_key(asked.arrival_s, prompts, slack)
        began = serve_in_order(asked, MIXTURE.engine, key).admitted_s
        later = asked.arrival_s[None, :] - asked.arrival_s[:, None]
        allowed = slack * (prompts[:, None] - prompts[None, :])
        before = began[None, :] < began[:, None]
        waits = asked.arrival_s[:, None] <= began[None, :]  # only who is there can be overtaken
        wrong = int((before & waits & (later > np.maximum(allowed, 0)) & (later > 0)).sum())
        checks.equal(f"slack {slack:g}: overtaken beyond it", wrong, 0)


def check_bad_input_is_refused() -> None:
    """Slack below nothing and prompts of another number name the argument."""
    checks.raises("slack", slack_key, [0.0], [1.0], -1.0, match="slack must be non-negative")
    checks.raises("shape", slack_key, [0.0, 1.0], [1.0], 1.0, match="prompt_s must be of shape")
