"""The token budget of a step: who stalls, and from which budget on the engine carries its load.

A prompt in a step makes everybody wait who decodes. A budget cuts it in chunks, so the longest gap
between tokens is a step that the budget fills. Too small a budget is a ceiling: a step of B tokens
that takes t(B) passes B/t(B) tokens a second, prompts and answers together, and no more come in.

`python -m serving_mathematics.optimization.batching.token_budget` runs each budget, in some
seconds, and writes records/token_budget.json.gz.

Assumes: what `Engine` assumes; Poisson arrivals.

Source: Agrawal et al. (2024) for the budget; `event_skipping` for gaps and first tokens.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from serving_mathematics.core.batching.continuous_batching import (
    TICK_S,
    Workload,
    gap_quantile,
    latencies_s,
)
from serving_mathematics.core.batching.event_skipping import saturated_rate, simulate
from serving_mathematics.core.hardware.deployed_engine import engine_of
from serving_mathematics.core.machines.machines import CHAT, MIXTURE, Machine
from serving_mathematics.core.machines.running import ask_machine
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import recorded
from serving_mathematics.support.require import as_number, require

BUDGETS = (256, 512, 1024, 2048, 4096, 8192)
LOADS = (0.4, 0.6, 0.8)
FULL = 0.4  # of the budget: what steps have, on average, from which on a larger one is due


def full_step_s(machine: Machine, sequences: float) -> float:
    """Time of a step [s] in which this many sequences decode and prompts take the rest of the
    budget.

    sequences: from 0 to below the machine's budget, and its places. A prompt token costs what one
    of a mean prompt does. Raises ValueError outside this range.

    >>> from serving_mathematics.core.machines.machines import CHAT
    >>> bool(0.03 < full_step_s(CHAT, 50) < 0.06)
    True
    """
    budget, sequences = machine.token_budget, as_number(sequences=sequences)
    require(0 <= sequences < budget, "sequences", f"from 0 to below {budget}", sequences)
    lengths = machine.sample
    prompts_s = float(machine.prompt_s(lengths.prompt_tokens, lengths.cached_tokens).sum())
    token_s = prompts_s / float((lengths.prompt_tokens - lengths.cached_tokens).sum())
    return float(machine.step_s(sequences)) + (budget - sequences) * token_s


class _P99s(NamedTuple):
    """p99 of the first token, of the gaps between tokens and of TPOT [s]; how many decode in the
    mean step; and tokens a second times the mean gap, over the budget."""

    first: float
    gap: float
    tpot: float
    decoding: float
    filled: float


def _tokens(asked: Workload) -> float:
    """Of prompts, without what a cache found, and of answers."""
    return float((asked.prompt_tokens - asked.cached_tokens + asked.output_tokens).sum())


@recorded(_P99s, "token_budget")
def _p99s(machine: Machine, load: float, budget: int) -> _P99s:
    """A machine with a budget; the load is a share of what it carries with its own."""
    limited = machine.limited(token_budget=budget)
    gaps: list[tuple[float, int]] = []
    asked = ask_machine(machine, load, 4000, seed=2)
    served = simulate(asked, limited.engine, gaps=gaps)
    ttft, tpot = latencies_s(asked, served)
    gap_s, tokens = zip(*gaps, strict=True)
    gap = gap_quantile(gap_s, tokens, 0.99)
    first, token = float(np.quantile(ttft, 0.99)), float(np.nanquantile(tpot, 0.99))
    filled = _tokens(asked) / float(served.completion_s.max()) * np.average(gap_s, weights=tokens)
    return _P99s(first, gap, token, served.decode_tokens / served.steps, float(filled) / budget)


def _gap_over_step(machine: Machine, budget: int) -> float:
    """p99 of the gaps at 60% load over a full step of prompts of mean length."""
    found = _p99s(machine, 0.6, budget)
    return found.gap / full_step_s(machine.limited(token_budget=budget), found.decoding)


def _left_for_long_prompts(machine: Machine, budget: int) -> float:
    """Of the prompt tokens that a gap as long as the p99 would pay at their mean price, the share
    that this budget, which has that gap, leaves out."""
    found, limited = _p99s(machine, 0.6, budget), machine.limited(token_budget=budget)
    decode_s = float(machine.step_s(found.decoding))
    return 1 - (full_step_s(limited, found.decoding) - decode_s) / (found.gap - decode_s)


def example() -> SimpleNamespace:
    """The numbers quoted in the text; times in s."""
    small, large = (_p99s(MIXTURE, 0.6, budget) for budget in (512, 8192))
    return SimpleNamespace(
        mixture_gap_times=large.gap / small.gap,
        default_gap_ms=1e3 * _p99s(CHAT, 0.6, 8192).gap,
    )


def figure_token_budget(figure: Figure) -> None:
    """The budget decides who stalls: a large one holds up all running answers, a small one delays
    first tokens, and one that is too small cannot carry the load.

    The chat machine, 99th percentiles. TPOT, the mean gap of one answer, does not show the stalls.

    Alt: Two logarithmic curves over the token budget. The gap between tokens rises with the budget
    and flattens at its end, where prompts are shorter than the budget. The first token falls
    steeply from the smallest budget to the next and is nearly flat from there. A dashed line of the
    time per token stays level and low from the third budget on.
    """
    axes = figure.subplots()
    ttft, gap, tpot = 1000 * np.array([_p99s(CHAT, 0.6, budget)[:3] for budget in BUDGETS]).T
    axes.plot(BUDGETS, ttft, "o-", color="C1")
    axes.plot(BUDGETS, gap, "o-", color="C0")
    axes.plot(BUDGETS, tpot, "--", color="C4")
    axes.annotate("first token", (1100, 500), color="C1")
    axes.annotate("gap between tokens", (1600, 70), color="C0", ha="right")
    axes.annotate("TPOT", (5000, 16), color="C4")
    axes.set(xscale="log", yscale="log", xlabel="token budget [tokens]", ylabel="p99 [ms]")
    axes.set_xticks(BUDGETS, [f"{budget:,}" for budget in BUDGETS])
    axes.set_xticks([], minor=True)


def slider_token_budget() -> dict[str, Any]:
    """Move the budget: who stalls? Then raise the load until a small budget cannot carry it."""
    found = 1000 * np.array([[_p99s(CHAT, load, b) for load in LOADS] for b in BUDGETS])
    return {
        "controls": [
            {"label": "budget", "values": BUDGETS, "start": 2048, "text": "{:,} tokens"},
            {
                "label": "load",
                "values": [f"{100 * load:.0f}%" for load in LOADS],
                "start": "60%",
            },
        ],
        "panels": [
            {
                "kind": "load",
                "x": {"label": "token budget", "unit": "tokens", "log": True},
                "y": {"label": "p99", "unit": "ms", "log": True},
                "curves": [
                    {"label": "gap", "unit": "ms", "values": found[..., 1], "decimals": 0},
                    {"label": "first token", "unit": "ms", "values": found[..., 0], "decimals": 0},
                ],
            }
        ],
        "readouts": [{"label": "TPOT", "unit": "ms", "values": found[..., 2], "decimals": 0}],
        "reading": "With {budget} in a step at {load} load, one gap in a hundred takes {gap} or"
        " more, and one first token in a hundred {first token}. TPOT is {TPOT}.",
    }


def check_large_budgets_stall_who_decodes() -> None:
    """On both machines, the p99 gap grows with every doubling of the budget until the budget is
    longer than the prompts; the p99 of TPOT on chat hardly moves from 1,024 tokens up.

    Source: `simulate` for gaps and TPOT.
    """
    for machine, budgets in ((CHAT, BUDGETS[:5]), (MIXTURE, BUDGETS)):
        gaps = [_p99s(machine, 0.6, budget).gap for budget in budgets]
        got = ", ".join(f"{1000 * gap:.0f}" for gap in gaps) + " ms"
        checks.holds(f"{machine.name}: gaps grow", bool(np.all(np.diff(gaps) > 0)), got=got)
    tpots = [_p99s(CHAT, 0.6, budget).tpot for budget in BUDGETS[2:]]
    checks.inside("chat: TPOT, most over least", max(tpots) / min(tpots), 1.0, 1.05)


def check_small_budgets_are_ceilings() -> None:
    """First tokens wait without end where full steps pass at least a twentieth fewer tokens a
    second than come, and not where they pass at least a twentieth more.

    Source: B/t(B) of a full step at the sequences that decode then, against the tokens that arrive;
    the p99 of 4,000 first tokens against five seconds.
    """
    lengths = CHAT.sample
    tokens = float(lengths.prompt_tokens.mean() + lengths.output_tokens.mean())
    for load in LOADS:
        for budget in BUDGETS[:3]:
            limited = CHAT.limited(token_budget=budget)
            rate = load * CHAT.ceiling_per_s
            inside, before = 0.0, -1.0
            while abs(inside - before) > 0.01:  # Little: what decodes while such steps run
                step_s, before = full_step_s(limited, min(inside, budget - 1)), inside
                inside = min(rate * float(lengths.output_tokens.mean()) * step_s, CHAT.places - 1)
            passes = budget / step_s / (rate * tokens)
            waits = _p99s(CHAT, load, budget)[0] > 5
            if not 0.95 < passes < 1.05:
                label = f"{budget} tokens at {100 * load:.0f}%: passes {passes:.2f} of what comes"
                checks.equal(label, waits, passes < 1)


def check_gaps_are_full_steps() -> None:
    """While prompts are longer than the budget, the p99 gap is nearly a full step; where they are
    ten times as long as the budget, it is up to two. There, a budget sixteen times as large brings
    first tokens in less than half the time.

    Source: `full_step_s` at the sequences that decode on average.
    """
    for budget in (512, 1024, 2048):
        label = f"{budget} tokens: gap over a full step"
        checks.inside(label, _gap_over_step(CHAT, budget), 0.8, 1.25, kind="simulation")
    checks.inside("mixture, 512 tokens", _gap_over_step(MIXTURE, 512), 1.5, 2.0)
    small, large = (_p99s(MIXTURE, 0.6, budget).first for budget in (512, 8192))
    checks.inside("mixture: first tokens, 8,192 over 512", large / small, 0.2, 0.5)


def check_full_steps_are_read_off_the_mean_gap() -> None:
    """Where more arrives than nine tenths of what full steps pass, tokens a second times the mean
    gap tells how full steps are, to within a twentieth.

    Source: `full_step_s` at the sequences that decode on average, and the tokens that arrive.
    """
    for machine in (CHAT, MIXTURE):
        pairs = []
        for load in LOADS:
            asked = ask_machine(machine, load, 4000, seed=2)
            comes = _tokens(asked) / float(asked.arrival_s[-1])
            for budget in BUDGETS[:4]:
                found = _p99s(machine, load, budget)
                step_s = full_step_s(machine.limited(token_budget=budget), found.decoding)
                pairs.append((found.filled, min(1.0, comes * step_s / budget)))
        filled, due = np.array(pairs).T
        off = float(np.abs(filled - due)[due > 0.9].max())
        checks.inside(f"{machine.name}: off where they are", off, 0.0, 0.05, kind="simulation")


def check_half_full_steps_hold_prompts_up() -> None:
    """Where tokens a second times the mean gap exceeds two fifths of the budget, a budget twice as
    large brings the p99 first token in less than two thirds of the time; elsewhere it takes seven
    tenths of the time or more, to within a hundredth.

    Source: the same runs, each budget beside the one twice as large.
    """
    for machine in (CHAT, MIXTURE):
        times: dict[bool, list[float]] = {True: [], False: []}
        for load, budget in itertools.product(LOADS, BUDGETS[:3]):
            small, large = (_p99s(machine, load, tokens) for tokens in (budget, 2 * budget))
            times[small.filled > FULL].append(large.first / small.first)
        label = f"{machine.name}: first token, twice the budget"
        checks.inside(f"{label}, full", max(times[True]), 0.3, 0.65)
        checks.inside(f"{label}, not full", min(times[False]), 0.69, 1.0)


def check_a_smaller_budget_leaves_the_mean_gap() -> None:
    """Dividing the budget by a number makes steps fuller by at most that number, so tokens a second
    times the mean gap tells how small a budget may be: wherever it says that a smaller budget is
    not full, it is not.

    Source: the same runs, each budget beside all smaller ones, by the mean gap of the larger.
    """
    for machine in (CHAT, MIXTURE):
        worst = []
        for load in LOADS:
            filled = {budget: _p99s(machine, load, budget).filled for budget in BUDGETS[:4]}
            for large, small in itertools.combinations(sorted(filled, reverse=True), 2):
                told = filled[large] * large / small
                if told <= FULL:
                    worst.append(filled[small] / told)
        checks.inside(
            f"{machine.name}: over what is told", max(worst), 0.9, 1.02, kind="simulation"
        )


def check_what_long_prompts_ask_for() -> None:
    """A budget that keeps a gap is up to about a quarter smaller than if every prompt token had the
    mean cost. Where prompts are several times as long as the budget, it is up to three fifths
    smaller.

    Source: the p99 gap of each budget, less the step of those who decode, over the price.
    """
    for machine, budgets, most in (
        (CHAT, BUDGETS[1:4], 0.25),
        (MIXTURE, BUDGETS[:4], 0.58),
    ):
        left = max(_left_for_long_prompts(machine, budget) for budget in budgets)
        checks.inside(f"{machine.name}: left out at most", left, most - 0.05, most + 0.02)


def check_a_heavy_tail_is_of_long_prompts() -> None:
    """With a heavy tail, a budget must be as much smaller as where all prompts are long, though
    half of the prompts are shorter than the budget: most prompt tokens belong to prompts more than
    four times as long as the budget.

    Source: `simulate`, with lognormal prompts on the chat machine's device at 60% of its ceiling,
    and the step of those who decode on average.
    """
    budget, count = 512, 2500
    rng = np.random.default_rng(2)
    prompts, answers = (
        np.clip(rng.lognormal(np.log(middle), spread, count), 10, most).astype(np.int64)
        for middle, spread, most in ((400, 1.6, 60_000), (100, 1.4, 8000))
    )
    checks.inside("half are shorter", float(np.median(prompts)) / budget, 0.5, 0.9)
    long = float(prompts[prompts > 4 * budget].sum() / prompts.sum())
    checks.inside("tokens of long ones", long, 0.5, 0.9)
    asked = Workload(np.zeros(count), prompts, answers)
    engine = engine_of(CHAT.deployment, asked, budget).engine
    held = float(np.average(prompts + answers / 2, weights=answers))
    places = int(engine.kv_blocks * engine.block_tokens / (held + answers.mean()))
    most_per_s = saturated_rate(prompts, answers, replace(engine, max_sequences=places))
    times = np.cumsum(rng.exponential(1 / (0.6 * most_per_s), count))
    gaps: list[tuple[float, int]] = []
    served = simulate(Workload(times, prompts, answers), engine, gaps=gaps)
    gap_s, tokens = zip(*gaps, strict=True)
    decoding = served.decode_tokens / served.steps
    table = engine.table
    assert table is not None
    decode_s = engine.step_s + decoding * engine.context_token_s * held
    decode_s += TICK_S * float(np.interp(decoding, np.arange(len(table.batch)), table.batch))
    token_s = TICK_S * float(engine.prompt_ticks(asked).sum() / prompts.sum())
    paid = (gap_quantile(gap_s, tokens, 0.99) - decode_s) / token_s
    checks.inside("left out", 1 - (budget - decoding) / paid, 0.5, 0.7, kind="simulation")


def check_a_run_is_made_again() -> None:
    """Running a recorded budget again gives the same percentiles.

    Source: the record, and its command.
    """
    run = CHAT, 0.6, 2048
    checks.close("chat, 2,048 tokens", _p99s.again(*run), _p99s(*run), rtol=1e-6, kind="simulation")


if __name__ == "__main__":
    _p99s.make()
