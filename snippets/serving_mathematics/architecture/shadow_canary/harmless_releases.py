"""How often a release that changed nothing is blamed, by what is counted and how often one looks.

The pairs of `same_version` under three rules: |z| > 1.96 at every look, Pocock's threshold for all
planned looks, and the mixture test, which allows any.

Assumes: what `same_version` assumes.

Source: records/same_version.json.gz; Pocock (1977); Johari et al. (2017).
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.architecture.shadow_canary.clumps import false_alarm_rate
from serving_mathematics.architecture.shadow_canary.repeated_looks import (
    crossing_probability,
    pocock_constant,
)
from serving_mathematics.architecture.shadow_canary.same_version import (
    ENGINES,
    LOOK_S,
    LOOKS,
    PAIRS,
    SLOWER,
    _copied,
    _seen,
)
from serving_mathematics.architecture.shadow_canary.sequential_tests import msprt_ratio
from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.core.machines.running import run_engine
from serving_mathematics.core.machines.token_sharing import step_line
from serving_mathematics.core.machines.traffic import draw_arrivals, draw_lengths
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

COUNTS = {"requests": 0.04, "minutes": 0.5}  # and τ²/V of the mixture test: an effect of 5%
RULES = ("5% at every look", "raised for 24 looks", "raised for any look")
LOAD = 0.6  # of the ceiling, as of the pairs
LOOKED_MINUTES = 480  # by the alert, over windows of two hours
SHOWN = {"the same": 6, "1% slower": 48}  # the pair that walks in the picture
LOOK_MINUTES = LOOK_S / 60


def _observations(count: str) -> FloatArray:
    """How many there are at each look."""
    answers = _seen("worth")["chat"]["block"] if count == "requests" else 1.0
    return np.asarray(np.arange(1, LOOKS + 1) * LOOK_MINUTES * answers)


def _alarms(version: str, count: str, rule: str) -> BoolArray:
    """Whether a pair was blamed up to each look, shape (pairs, looks)."""
    z = np.array([row[count] for row in _seen("pairs")[version]])
    if rule == RULES[2]:
        n = _observations(count)
        crossed = msprt_ratio(n, z / np.sqrt(n), 1.0, COUNTS[count]) >= 20.0
    else:
        crossed = np.abs(z) > _limits(count, rule)
    return np.asarray(np.logical_or.accumulate(crossed, axis=1))


@functools.cache
def _limits(count: str, rule: str) -> FloatArray:
    """The |z| that a test allows at each look; that of the mixture test has a ratio of 20."""
    if rule != RULES[2]:
        limit = 1.959964 if rule == RULES[0] else pocock_constant(LOOKS)
        return np.full(LOOKS, limit)
    spread = COUNTS[count] * _observations(count)
    return np.asarray(np.sqrt(2 * (1 + 1 / spread) * np.log(20 * np.sqrt(1 + spread))))


def _share(version: str, count: str, rule: str) -> FloatArray:
    """Share of the pairs that are blamed up to each look [%]."""
    return np.asarray(100 * _alarms(version, count, rule).mean(axis=0))


def _slowed_by_longer(times: float) -> float:
    """The chat machine's time per token at LOAD when answers are so many times as long, over the
    one now: by the closed form, s/(1 − λp − λmd)."""
    line, rate = step_line(CHAT), LOAD * CHAT.ceiling_per_s
    left, busy = 1 - rate * line.prompt_s, rate * line.later_tokens * line.sequence_s
    return (left - busy) / (left - times * busy)


def _slowed_by_steps(times: float) -> float:
    """The same when everything takes so many times as long, for requests that come as before."""
    line, rate = step_line(CHAT), LOAD * CHAT.ceiling_per_s
    busy = rate * (line.prompt_s + line.later_tokens * line.sequence_s)
    return times * (1 - busy) / (1 - times * busy)


@functools.cache
def _blamed_by_alert(follows: float) -> float:
    """Share of releases whose harm is the margin that the alert of the page blames in eight hours
    of looks, where minutes correlate so much with the ones before [%]."""
    rng, runs = np.random.default_rng(11), 2000
    noise = rng.standard_normal((runs, LOOKED_MINUTES))
    for minute in range(1, LOOKED_MINUTES):
        own = math.sqrt(1 - follows**2) * noise[:, minute]
        noise[:, minute] = follows * noise[:, minute - 1] + own
    sums, squares = (
        np.cumsum(np.pad(part, ((0, 0), (1, 0))), axis=1) for part in (noise, noise**2)
    )
    blamed = np.zeros(runs, dtype=bool)
    for end in range(20, LOOKED_MINUTES + 1):
        begin = max(0, end - 120)
        mean, square = ((x[:, end] - x[:, begin]) / (end - begin) for x in (sums, squares))
        blamed |= (mean > 0) & (mean**2 > 13 * (square - mean**2) / (end - begin))
    return 100 * float(blamed.mean())


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    worth = _seen("worth")
    spread = worth["chat"]["spread"]
    planned = (NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)) ** 2
    block_h = ENGINES["mixture"][3] / 3600
    return SimpleNamespace(
        one_look_requests=100 * false_alarm_rate(worth["chat"]["token"]),
        worth_60=round(worth["chat"]["token"], -1),  # of 128 runs known to an eighth
        minute_spread=100 * spread,
        shadow_spread=100 * float(_copied(1.05, sampled=True).std()),
        longer_percent=100 * (_slowed_by_longer(1.1) - 1),
        magnified_percent=100 * (_slowed_by_steps(SLOWER) - 1),
        load_percent=100 * LOAD,
        minutes_for_5=planned * (spread / math.log(1.05)) ** 2,
        minutes_for_1=planned * (spread / math.log(1.01)) ** 2 / 60,
        busier_times=(worth["chat, 80%"]["spread"] / spread) ** 2,
        mixture_hours_for_5=block_h * planned * (worth["mixture"]["spread"] / math.log(1.05)) ** 2,
    )


def figure_harmless_releases(figure: Figure) -> None:
    """Of releases that changed nothing, nearly all are blamed if requests are counted, a third if
    minutes are tested at the 5% level at every look, few if thresholds are raised for the looks.

    120 pairs of chat machines, looked at every five minutes.

    Alt: Line chart of the share of releases blamed so far against minutes. The line of requests
    starts high and ends near all of them. The line of minutes at 5% climbs to about a third. The
    lines of the two tests with raised thresholds stay near the dashed line at 5 percent.
    """
    axes = figure.subplots()
    time = LOOK_MINUTES * np.arange(1, LOOKS + 1)
    for count, rule, colour, text, y in (
        ("requests", RULES[0], "C3", "requests, 5% at every look", 88),
        ("minutes", RULES[0], "C1", "minutes, 5% at every look", 36),
        ("minutes", RULES[1], "C0", "minutes, raised for 24 looks", 10),
        ("minutes", RULES[2], "C2", "minutes, raised for any look", -5),
    ):
        axes.plot(time, _share("the same", count, rule), color=colour)
        axes.annotate(text, (120, y), color=colour, ha="right")
    axes.axhline(5, color="C4", linestyle="--", linewidth=1.2)
    axes.set(xlim=(0, 121), ylim=(-8, 104))
    axes.set(xlabel="time since the release [min]", ylabel="blamed so far [%]")


# In one piece: a picture's data, panel by panel, as the page draws them.
def slider_harmless_releases() -> dict[str, Any]:
    """A release that changed nothing, tested every five minutes until a test stops it. Raise the
    threshold and step on; then count requests."""
    times = LOOK_MINUTES * np.arange(1, LOOKS + 1)

    def each(value: Any) -> list[list[list[Any]]]:
        return [
            [[value(count, rule, version) for version in PAIRS] for rule in RULES]
            for count in COUNTS
        ]

    def walk(count: str, rule: str, version: str) -> list[float | None]:
        """Up to the look that stops it."""
        pair = SHOWN[version]
        stopped = np.append(False, _alarms(version, count, rule)[pair, :-1])
        z = _seen("pairs")[version][pair][count]
        return [None if over else abs(one) for one, over in zip(z, stopped, strict=True)]

    def ends(count: str, rule: str, version: str) -> list[tuple[float, float, str]]:
        blamed = _alarms(version, count, rule)[SHOWN[version]]
        return [(float(times[blamed.argmax()]), float(times[-1]), "stopped")] * bool(blamed.any())

    def stopped_percent(*run: str) -> list[float]:
        return np.round(_share(run[2], *run[:2]), 1).tolist()  # type: ignore[no-any-return]

    return {
        "controls": [
            {"label": "what is counted", "values": list(COUNTS), "start": "minutes"},
            {"label": "threshold", "values": list(RULES), "start": RULES[0]},
            {
                "label": "new version's steps",
                "values": ["as before", "1% longer"],
                "start": "as before",
            },
        ],
        "clock": {
            "label": "time",
            "unit": "min",
            "decimals": 0,
            "values": times.tolist(),
            "start": 40.0,
            "events": each(ends),
        },
        "panels": [
            {
                "kind": "curves",
                "y": {"label": "difference, in standard errors", "unit": "", "range": (0, 6.5)},
                "curves": [
                    {"label": "difference", "unit": "", "values": each(walk)},
                    {
                        "label": "stops above",
                        "unit": "",
                        "values": each(lambda count, rule, _: _limits(count, rule).tolist()),
                        "state": "broken",
                    },
                ],
            },
            {
                "kind": "engine",
                "label": "a hundred such releases",
                "places": 100,
                "running": each(
                    lambda *run: (100 - np.rint(stopped_percent(*run))).astype(int).tolist()
                ),
                "of": "go on",
            },
        ],
        "readouts": [
            {
                "label": "stopped",
                "unit": "%",
                "decimals": 0,
                "values": each(lambda *run: np.rint(stopped_percent(*run)).tolist()),
            }
        ],
        "legend": {"answer": "goes on", "free": "stopped"},
        "reading": "After {time}, the difference is {difference} standard errors; the test stops"
        " a release above {stops above}. It has stopped {stopped} of all such releases.",
        "absent": "The test has stopped the release, whose difference once exceeded the threshold."
        " After {time}, it has stopped {stopped} of all such releases.",
    }


def check_the_alert_pays_for_looks_at_independent_minutes() -> None:
    """If a harm equals its margin, eight hours of looks at the alert blame the release in 1.25% of
    cases, to half a percentage point, and several times as often where one minute depends on the
    one before.

    Source: 2,000 simulated releases with normal minutes; a test runs the expressions of the file
    itself.
    """
    rates = [_blamed_by_alert(follows) for follows in (0.0, 0.3, 0.5)]
    checks.close("independent minutes [%]", rates[0], 1.25, atol=0.5, kind="simulation")
    checks.inside("correlated by 0.3 [%]", rates[1], 8, 18)
    checks.inside("correlated by 0.5 [%]", rates[2], 25, 45)


def check_requests_of_an_engine_are_no_observations() -> None:
    """At a single look, a test of requests blames most harmless releases, as often as 2Φ(−z/√I)
    says, and a test of minutes a twentieth. On all engines but the agents', 5 to 400 requests count
    as one, and blocks correlate by at most 0.2 with those before.

    Source: own simulation of 120 pairs at the last look; I from other runs of the same engine.
    """
    z = {count: np.array([r[count][-1] for r in _seen("pairs")["the same"]]) for count in COUNTS}
    for count, clumped in (("requests", _seen("worth")["chat"]["token"]), ("minutes", 1.0)):
        wrong = float((np.abs(z[count]) > 1.959964).mean())
        slack = 3 * math.sqrt(0.25 / 120) * (2 if count == "requests" else 1) / 2
        due = false_alarm_rate(clumped)
        checks.close(f"{count}: blamed at one look", wrong, due, atol=slack, kind="simulation")
    for name, row in _seen("worth").items():
        if name != "agents":
            told, alike = row["token"], abs(row["follows"])
            checks.inside(f"{name}: requests that count as one", told, 5, 400)
            checks.inside(f"{name}: correlation of blocks", alike, 0, 0.2)


def check_half_hours_of_agents_are_no_observations() -> None:
    """With sessions of agents, even one half hour resembles the next, unlike a minute on the chat
    machine and ten minutes on the mixture.

    Source: own simulation of 16 runs of eight hours, at 30% of the ceiling.
    """
    follows = _seen("worth")["agents"]["follows"]
    checks.inside("agents: correlation of half hours", follows, 0.25, 0.75)


def check_looks_are_paid_for() -> None:
    """With 24 looks, a 5% test of minutes blames as many harmless releases as the recursion says,
    as far as 120 pairs can show. Pocock's threshold and the mixture test blame few, at most 11% of
    these pairs, and still find the version that takes 1% longer in most cases.

    Source: own simulation of 120 and 60 pairs; `repeated_looks`.
    """
    plain = 100 * crossing_probability([1.959964] * LOOKS)
    got = float(_share("the same", "minutes", RULES[0])[-1])
    checks.close("5% at every look [%]", got, plain, atol=14, kind="simulation")
    for rule in RULES[1:]:
        blamed = float(_share("the same", "minutes", rule)[-1])
        checks.inside(f"{rule}: blamed [%]", blamed, 0, 11, kind="simulation")
        found = float(_share("1% slower", "minutes", rule)[-1])
        checks.inside(f"{rule}: found [%]", found, 50, 100)


def check_longer_answers_slow_tokens() -> None:
    """If answers are a tenth longer, the chat machine's tokens slow by as much as the closed form
    says, to a percentage point.

    Source: own simulation of 40,000 requests, the same but for the length of their answers.
    """
    rng = np.random.default_rng(12)
    lengths = draw_lengths(rng, CHAT.traffic, 40_000)
    arrivals = draw_arrivals(rng, LOAD * CHAT.ceiling_per_s, 40_000)
    per_token_s = []
    for times in (1.0, 1.1):
        answers = np.rint(times * lengths.output_tokens).astype(np.int64)
        run = simulate(Workload(arrivals, lengths.prompt_tokens, answers), CHAT.engine)
        kept = slice(4000, None)
        spent = (run.completion_s - run.first_token_s)[kept]
        per_token_s.append(float(spent.sum() / (answers - 1.0)[kept].sum()))
    got = per_token_s[1] / per_token_s[0]
    checks.close("tokens, times as slow", got, _slowed_by_longer(1.1), atol=0.01, kind="simulation")


def check_load_magnifies_slower_steps() -> None:
    """Under load, tokens slow about twice as much as steps do, because requests stay longer, as the
    closed form says.

    Source: own simulation of 20,000 requests, the same for every version.
    """
    rate = LOAD * CHAT.ceiling_per_s

    def token_s(times: float) -> float:
        run = run_engine(CHAT, rate, 20_000, np.random.default_rng(12), slowness=times)
        return run.token_s(2000)

    now = token_s(1.0)
    for times, atol in ((SLOWER, 0.002), (1.05, 0.01)):
        got, told = token_s(times) / now, _slowed_by_steps(times)
        checks.close(
            f"steps {times:g} times as long: tokens", got, told, atol=atol, kind="simulation"
        )
