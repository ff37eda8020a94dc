"""Four engines behind a router, to look at: what is recorded of `routed_fleets`.

Assumes: what `routed_fleets` assumes.

Source: records/routed_fleets.json.gz.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from serving_mathematics.architecture.model_routers.prefix_routing import (
    _saved_s,
    _sequence_s,
    slack_that_pays,
)
from serving_mathematics.architecture.model_routers.routed_fleets import (
    AGES_S,
    CLIP_SLACKS,
    FRAME_S,
    FRAMES,
    LOADS,
    LONG_LOADS,
    MANY,
    RATES,
    RECORDS,
    SLACKS,
    STALE_S,
    _aged,
    _aged_many,
    _few_more,
    _gain,
    _kept,
    _long,
    _rate,
    _record,
)
from serving_mathematics.core.machines.customers import CUSTOMERS, PREAMBLE
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.core.machines.token_sharing import step_line
from serving_mathematics.support.drawing import Figure


def example() -> SimpleNamespace:
    """Numbers quoted in the text."""
    asked = _record()["slack"]["customers"]
    running = np.mean(_record()["clips"]["customers"][CLIP_SLACKS.index(16)]["running"])
    return SimpleNamespace(
        long_load_percent=100 * LONG_LOADS[-1],
        promised_ms=1000 * CHAT.promise.tpot_s,
        later_tokens=step_line(CHAT).later_tokens,
        sequence_us=1e6 * _sequence_s(),
        preamble=PREAMBLE,
        customers=CUSTOMERS,
        saved_ms=1000 * _saved_s(),
        pays=slack_that_pays(_saved_s(), step_line(CHAT).later_tokens, _sequence_s()),
        running=float(running),
        found_loads_percent=100 * asked[0]["found"],
        found_prefix_percent=100 * asked[SLACKS.index(16)]["found"],
        hot_kept_always_percent=100 * _kept("one asks two in five", math.inf),
        hot_kept_percent=100 * _kept("one asks two in five", 16),
        aged_kept_percent=100 * _aged("slack 16", STALE_S),
        fresh_kept_percent=100 * _aged("slack 16", 0.0),
        aged_picker_percent=100 * _aged("endpoint picker", STALE_S),
        many=MANY,
        many_picker_percent=100 * _aged_many("endpoint picker", STALE_S),
        stale_s=STALE_S,
        short_kept_percent=100 * _record()["records"][RECORDS.index(0.25)]["kept"],
        long_random_percent=100 * _long("at random", "kept"),
        long_fewest_percent=100 * _long("fewest requests", "kept"),
        long_fewest_s=_long("fewest requests", "first_99_s"),
        long_unread_s=_long("Dynamo, 16", "first_99_s"),
        least_gain_percent=_gain(min),
        most_gain_percent=_gain(max),
        few_four_percent=_few_more(4),
        few_sixteen_percent=_few_more(16),
        engine_random=_record()["without"]["at random"][LOADS.index(0.9)],
        engine_two=_record()["without"]["two choices"][LOADS.index(0.9)],
    )


_SHOWN_SLACKS = np.array([0.5, *SLACKS[1:-1], 512.0])  # on a logarithmic axis; 0 and infinity


def figure_four_engines(figure: Figure) -> None:
    """A little slack serves nearly all requests in time, whoever asks. Without slack, caches are
    wasted; with too much, one engine is overloaded if one customer sends two requests in five.

    Four chat machines, means of eight draws; a request is in time if both promises are kept.

    Alt: Line chart of the share of requests in time against the slack, with two lines. Both begin
    low without slack, rise to nearly all within a slack of a few requests and stay there over a
    wide range; the line with one large customer falls steeply at the end, where the prefix is
    always followed.
    """
    axes = figure.subplots()
    for situation, colour, text, where in (
        ("customers", "C0", "200 customers", (2.8, 62)),
        ("one asks two in five", "C1", "one asks two in five", (20, 40)),
    ):
        kept = [100 * _kept(situation, slack) for slack in SLACKS]
        axes.semilogx(_SHOWN_SLACKS, kept, "o-", color=colour)
        axes.annotate(text, where, color=colour, ha="left")
    axes.set_xticks([0.5, 1, 4, 16, 64, 256, 512], ["0", "1", "4", "16", "64", "256", "always"])
    axes.minorticks_off()
    axes.set(xlabel="slack [requests]", ylabel="promise kept [%]", ylim=(0, 104))


def figure_carried(figure: Figure) -> None:
    """For customers, prefix first with slack, llm-d and the sum of scores carry most, and hashing
    their names carries least; for agents, following the prefix is enough.

    The highest rate at which the promise is kept, in requests a second of each engine, from one
    draw, to within 0.4 for customers; the best of the settings tried for each rule.

    Alt: Two bar charts of rules, for customers and for agents. Prefix first with slack, llm-d and
    the sum of scores have the longest bars in both; rules that look at loads alone have shorter
    bars, for agents a third as long.
    """
    figure.set_size_inches(5.8, 3.4)
    rules = {
        "at random": ("at random",),
        "two choices": ("two choices",),
        "fewest requests": ("fewest requests",),
        "owner by hash": ("one owner, by hash",),
        "hash, bound": ("hash, bound 1.1", "hash, bound 1.25"),
        "SGLang": ("SGLang", "SGLang, 32", "SGLang, 128"),
        "sum of scores": ("endpoint picker", "endpoint picker, 1:1:1"),
        "llm-d": ("llm-d", "llm-d, by requests"),
        "prefix always": ("prefix always",),
        "prefix, slack 16": ("prefix first, slack 16",),
    }
    axes = figure.subplots(1, 2, sharey=True)
    for own, situation, digits in zip(axes, ("customers", "agents"), (1, 2), strict=True):
        best = [max(_rate(situation, name) for name in names) for names in rules.values()]
        colours = ["C0" if "slack" in name else "C4" for name in rules]
        bars = own.barh(list(rules), best, color=colours)
        own.bar_label(bars, fmt=f"%.{digits}f", padding=2)
        own.set(title=situation, xlim=(0, 1.2 * max(best)))
        own.set(xlabel="carried [requests/s]", ylabel="rule")
        own.grid(visible=False)
    axes[0].invert_yaxis()


def figure_aged(figure: Figure) -> None:
    """Old loads make a small slack useless: until the router looks again, the engine that was idle
    gets all requests.

    Four chat machines, means of eight draws, by how often their router asks them for their loads.

    Alt: Line chart of the share of requests for which the promise is kept against the age of loads.
    All three lines begin near the top. The rule with a small slack falls to nothing within seconds,
    the one with a large slack later, and that of the sum of scores slowly.
    """
    axes = figure.subplots()
    shown = np.array([0.03, *AGES_S[1:]])
    for name, text, colour, x, y in (
        ("slack 16", "slack 16", "C1", 0.35, 30),
        ("slack 64", "slack 64", "C3", 1.9, 74),
        ("endpoint picker", "sum of scores", "C0", 3.5, 98),
    ):
        kept = [100 * _aged(name, age_s) for age_s in AGES_S]
        axes.semilogx(shown, kept, "o-", color=colour)
        axes.annotate(text, (x, y), color=colour, ha="left")
    axes.set_xticks(shown, ["own count", "0.1", "0.3", "1", "3", "10"])
    axes.minorticks_off()
    axes.set(xlabel="greatest age of loads [s]", ylabel="promise kept [%]", ylim=(0, 104))


# In one piece: a picture's data, panel by panel, as the page draws them.
def slider_four_engines() -> dict[str, Any]:
    """Route by load alone, then give the prefix more slack; then let one customer send two
    requests in five."""
    clips = _record()["clips"]
    asked = list(RATES)

    def shown(part: str) -> list[list[list[list[int]]]]:
        return [[clips[one][place][part] for one in asked] for place in range(len(CLIP_SLACKS))]

    def of(what: str) -> list[list[float]]:
        return [
            [100 * clips[one][place][what] for one in asked] for place in range(len(CLIP_SLACKS))
        ]

    return {
        "controls": [
            {
                "label": "slack",
                "values": ["none", "4 requests", "16 requests", "64 requests", "always follow"],
                "start": "none",
            },
            {
                "label": "who asks",
                "values": ["200 customers", "one asks two in five"],
                "start": "200 customers",
            },
        ],
        "clock": {
            "label": "time",
            "unit": "s",
            "values": (FRAME_S * np.arange(FRAMES)).tolist(),
            "start": 20.0,
        },
        "panels": [
            {
                "kind": "engine",
                "places": CHAT.places,
                "engines": ["A", "B", "C", "D"],
                "running": shown("running"),
                "prompts": shown("prompts"),
                "waiting": shown("waiting"),
            },
            {
                "kind": "curves",
                "y": {
                    "label": "time per token of running requests",
                    "unit": "ms",
                    "range": (0, 100),
                    "limit": {"at": 1000 * CHAT.promise.tpot_s, "label": "promised"},
                },
                "curves": [
                    {
                        "label": "a token",
                        "unit": "ms",
                        "decimals": 0,
                        "values": (1000 * np.array(shown("token"))).tolist(),
                        "state": "answer",
                    }
                ],
            },
        ],
        "readouts": [
            {"label": "found", "unit": "%", "decimals": 0, "values": of("found")},
            {"label": "a first token", "unit": "s", "decimals": 1, "values": shown("first")},
            {"label": "in time", "unit": "%", "decimals": 0, "values": of("kept")},
        ],
        "reading": "Both promises are kept for {in time} of the requests. After {time}, a token"
        f" takes {{a token}} (promised: {1000 * CHAT.promise.tpot_s:.0f}), a first token"
        f" {{a first token}} (promised: {CHAT.promise.ttft_s:.0f}). Slack: {{slack}}. Caches find"
        " {found} of the prompt tokens.",
    }
