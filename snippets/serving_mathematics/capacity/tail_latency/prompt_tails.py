"""In an engine the tail of the first token is prompts: the own one, and those before it.

A step's budget goes to prompts in order, so whoever comes while a long one is read waits for its
end. The share of arrivals that do is λ·s·t: long prompts a second, times the time that one takes.
What helps is a router that counts the tokens which engines have yet to read, or an order or a limit
that lets short prompts pass. A second copy has the same prompt.

Assumes: what `tail_record` assumes.

Source: records/first_tokens.json, made by `tail_record`.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Literal

import numpy as np

from serving_mathematics.capacity.tail_latency.mixes import (
    ENGINES,
    MIXES,
    _ask,
    _ceiling_per_s,
    _engine_for,
)
from serving_mathematics.capacity.tail_latency.second_copies import serve_copies
from serving_mathematics.capacity.tail_latency.tail_record import (
    REMEDIES,
    WARM,
    _recorded,
    _serve,
    _tail,
)
from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.fleet.design import Fleet, Route
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.fleet.view import View
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.core.machines.traffic import draw_lengths
from serving_mathematics.support import checks
from serving_mathematics.support.require import require_in, require_non_negative

SHORTER = 5000  # tokens of documents that are little longer than other prompts
SHOWN = {  # remedies of the page's table
    "none": "none",
    "unread tokens": "to the engine with the fewest unread tokens",
    "shortest": "shortest first",
    "limit": "budget of 8,192 tokens instead of 2,048, at most a quarter of it for one prompt",
    "copy": "second copy, at its best delay",
}


def blocked_share(rate_per_s: float, long_share: float, read_s: float) -> float:
    """Share of arrivals that find a long prompt being read, λ·s·t, or 1 where it would be more.

    rate_per_s: λ of one engine. long_share: s of the prompts, in [0, 1]. read_s: t that one takes.
    Raises ValueError outside these ranges. It is a share of time, which arrivals at random see.

    >>> blocked_share(rate_per_s=10.0, long_share=0.02, read_s=0.5)
    0.1
    """
    rate_per_s, read_s = require_non_negative(rate_per_s=rate_per_s, read_s=read_s)
    long_share = require_in("[0, 1]", long_share=long_share)
    return min(1.0, rate_per_s * long_share * read_s)


def _remedy(mix: str, load: float, name: str) -> dict[str, float]:
    """A row of the record; of second copies the delay that is best for short prompts."""
    rows = _recorded()["remedies"]
    if name != "copy":
        return dict(rows[f"{mix}, {load}, {name}"])
    tried = [rows[f"{mix}, {load}, {name}"] for name in REMEDIES if name.startswith("copy at")]
    return dict(min(tried, key=lambda row: row["short_p99"]))


def _cut(mix: str, load: float, name: str) -> float:
    """By how much a remedy shortens the p99 of short prompts [%]."""
    none = _remedy(mix, load, "none")["short_p99"]
    return 100 * (1 - _remedy(mix, load, name)["short_p99"] / none)


def _over(mix: str, load: float, name: str, part: str, base: str = "none") -> float:
    """A quantile with a remedy, over that with another or with none."""
    return _remedy(mix, load, name)[part] / _remedy(mix, load, base)[part]


def _full_step_s(token_budget: int = 0) -> float:
    """A step that reads nothing but the last tokens of a prompt of 16,384 [s]."""
    engine = _engine_for("documents", token_budget)
    lengths = np.array([16_384, 16_384 - engine.token_budget])
    ends = [
        float(serve_copies(Workload([0.0], [tokens], [1]), engine, 1).first_token_s[0])
        for tokens in lengths
    ]
    return ends[0] - ends[1]


def _small_limit(tokens: int) -> float:
    """The p99 of short prompts with a limit of 512 in the old budget, over that without, where
    documents have so many tokens; at 70% load of longer ones, averaged over two draws."""
    ratios = []
    for seed in range(2):
        asked = _ask("documents", 0.7, seed)
        prompts = np.where(asked.long, tokens, asked.workload.prompt_tokens)
        asked = replace(asked, workload=replace(asked.workload, prompt_tokens=prompts))
        limited, free = (
            _tail(asked, _serve("documents", asked, REMEDIES[name]))["short_p99"]
            for name in ("limit in the old budget", "none")
        )
        ratios.append(limited / free)
    return float(np.mean(ratios))


def example() -> SimpleNamespace:
    """Numbers of the page: the table, and shares in percent."""
    rows = []
    for name, told in SHOWN.items():
        row = _remedy("documents", 0.7, name)
        times = [1000 * row[part] for part in ("short_p99", "long_p50", "p99")]
        rows.append(f"| {told} | {' | '.join(f'{time:,.0f}' for time in times)} |")
    _, share, tokens = MIXES["documents"]
    rate = 0.7 * _ceiling_per_s("documents")
    none = _remedy("documents", 0.7, "none")
    return SimpleNamespace(
        remedy_rows="\n".join(rows),
        step_ms=1000 * _full_step_s(),
        larger_step_ms=1000 * _full_step_s(8192),
        document_tokens=tokens,
        document_percent=100 * share,
        document_read_ms=1000 * none["long_p50"],
        blocked_percent=100 * blocked_share(rate, share, none["long_p50"]),
        chat_cut=_cut("chat", 0.7, "shortest"),
        shorter_tokens=SHORTER,
        shorter_percent=100 * (_small_limit(SHORTER) - 1),
    )


def check_a_run_is_made_again() -> None:
    """A run of the record, simulated again, lies within a fifth of the mean of all.

    Source: the record, and its command.
    """
    asked = _ask("documents", 0.7, 0)
    again = _tail(asked, _serve("documents", asked, REMEDIES["shortest"]))
    row = _remedy("documents", 0.7, "shortest")
    for part in ("p50", "short_p99", "long_p50"):
        checks.close(f"{part} [s]", again[part], row[part], rtol=0.2, kind="simulation")


def check_orders_and_limits_beat_copies() -> None:
    """In every mix with long prompts, reading the shortest first cuts the p99 of short prompts by
    more than 60%, a limit by more than half, and a router that counts unread tokens by 45% or more;
    a second copy, at the best of three delays, by less than 15%.

    Source: the record: documents of two lengths, rare and frequent; long conversations on a mixture
    of experts, where a tenth of the prompts counts as long.
    """
    for mix in list(MIXES)[1:]:
        for load in (0.5, 0.7):
            for name, least, most in (
                ("shortest", 60.0, 100.0),
                ("limit", 50.0, 100.0),
                ("unread tokens", 45.0, 100.0),
                ("copy", -50.0, 15.0),
            ):
                checks.inside(
                    f"{mix} at {load:g}, {name}: cut [%]", _cut(mix, load, name), least, most
                )


def check_unread_tokens_cost_nobody() -> None:
    """In every mix with long prompts, a router that counts unread tokens shortens the p99 of all
    requests too, and long prompts come no later; times per token are longer by 3% at most, and no
    fewer requests keep both limits. Second copies on top make the p99 of short prompts longer. At
    70% load, shortest first does as much for short prompts in the page's mix, and far more in the
    others.

    Source: the record; the copy's delay is the p95 of the same router without.
    """
    for mix in list(MIXES)[1:]:
        for load in (0.5, 0.7):
            given = mix, load, "unread tokens"
            for part, least, most in (
                ("p99", 0.5, 0.96),
                ("long_p50", 0.8, 1.0),
                ("token_p90", 0.95, 1.03),
            ):
                label = f"{mix} at {load:g}, {part} over that by requests"
                checks.inside(label, _over(*given, part), least, most)
            more = _remedy(*given)["kept"] - _remedy(mix, load, "none")["kept"]
            checks.inside(f"{mix} at {load:g}, kept: more", more, 0.0, 0.1)
            copied = mix, load, "copy behind unread tokens", "short_p99", "unread tokens"
            checks.inside(
                f"{mix} at {load:g}, with copies: short p99, times as late",
                _over(*copied),
                1.02,
                10.0,
            )
        shortest = _over(mix, 0.7, "shortest", "short_p99", "unread tokens")
        low, high = (0.9, 1.1) if mix == "documents" else (0.1, 0.5)
        checks.inside(f"{mix} at 0.7, shortest over unread", shortest, low, high)


def check_two_engines_gain_less() -> None:
    """With two engines, a router that counts unread tokens takes a fifth to two fifths off the p99
    of short prompts, and with four over half.

    Source: four draws at the same load of each engine, 70%; of four engines the record.
    """
    late_s: dict[Literal["requests", "tokens"], float] = {"requests": 0.0, "tokens": 0.0}
    for seed in range(4):
        asked = _ask("documents", 0.7, seed)
        arrivals = asked.workload.arrival_s * ENGINES / 2
        workload = replace(asked.workload, arrival_s=arrivals)
        for counted in late_s:
            got = serve_copies(workload, _engine_for("documents"), 2, counted=counted)
            first = (got.first_token_s - arrivals)[WARM:][~asked.long[WARM:]]
            late_s[counted] += float(np.quantile(first, 0.99))
    cuts = {2: 100 * (1 - late_s["tokens"] / late_s["requests"])}
    cuts[ENGINES] = _cut("documents", 0.7, "unread tokens")
    for engines, low, high in ((2, 20.0, 40.0), (ENGINES, 50.0, 75.0)):
        checks.inside(f"{engines} engines: cut [%]", cuts[engines], low, high)


def check_ties_go_to_the_fewest_requests() -> None:
    """Among engines with equally many unread tokens, mostly none, the fewest requests should
    decide. Where prompts are a third as long and answers three times as long, a router that takes
    the first of its list makes the slowest hundredth of times per token at least half as long
    again; first tokens come later too.

    Source: four chat machines in `core.fleet`, at a third of their ceiling.
    """
    rng = np.random.default_rng(1)
    gaps = rng.exponential(1 / (4 / 3 * CHAT.ceiling_per_s), 3000)
    drawn = draw_lengths(rng, CHAT.traffic, gaps.size)
    prompts, outputs = drawn.prompt_tokens // 3 + 1, 3 * drawn.output_tokens
    asked = Requests(np.cumsum(gaps), prompts, outputs)
    token_s, first_s = list[float](), list[float]()
    for by_requests in (False, True):
        fleet = Fleet([CHAT.engine] * 4, route=_fewest_unread(by_requests))
        done, counted = simulate_fleet(asked, fleet), np.arange(gaps.size) >= 500
        each_s = (done.completion_s - done.first_token_s) / np.maximum(outputs - 1, 1)
        token_s.append(float(np.quantile(each_s[counted & (outputs > 20)], 0.99)))
        first_s.append(float(np.quantile((done.first_token_s - asked.arrival_s)[counted], 0.99)))
    checks.inside("first of the list over fewest, tokens", token_s[0] / token_s[1], 1.5, 2.5)
    checks.inside("first of the list over fewest, first tokens", first_s[0] / first_s[1], 1.1, 2.5)


def _fewest_unread(by_requests: bool) -> Route:
    """A router to the engine with the fewest unread tokens; of equal ones the one with the fewest
    requests, or the first."""
    sent: list[list[int]] = [[] for _ in range(4)]

    def route(request: int, view: View) -> int:
        first_s, prompt = view.ledger.first_s, view.ledger.prompt  # below 0 while there is none
        for own in sent:
            own[:] = [one for one in own if not 0 <= first_s[one] <= view.now]
        unread = [sum(prompt[one] for one in own) for own in sent]
        place = min(range(4), key=lambda e: (unread[e], by_requests * view.requests[e]))
        sent[place].append(request)
        return place

    return route


def check_what_a_larger_budget_costs() -> None:
    """A budget four times as large makes a full step three to five times as long, and at least
    three times the promised time per token. A limit within the old budget does without, and cuts
    the p99 of short prompts in every mix with documents, by less than a limit in the larger budget.
    At 70% load, documents then take two thirds to nine tenths longer.

    Source: the engine of the chat machine; the record.
    """
    small, large = _full_step_s(), _full_step_s(8192)
    checks.inside("full steps, 8,192 over 2,048", large / small, 3.0, 5.0)
    checks.inside("over the promised time", large / MIXES["documents"][0].promise.tpot_s, 3.0, 10.0)
    for mix in [mix for mix in MIXES if "documents" in mix]:
        for load in (0.5, 0.7):
            least, most = (_cut(mix, load, name) for name in ("limit in the old budget", "limit"))
            checks.inside(f"{mix} at {load:g}: cut [%]", least, 10.0, most)
        names = ("limit in the old budget", "none")
        limited, free = (_remedy(mix, 0.7, name)["long_p50"] for name in names)
        checks.inside(f"{mix}: documents, times as long", limited / free, 1.65, 1.95)


def check_a_small_limit_wants_long_documents() -> None:
    """A limit of 512 within the old budget makes the p99 of short prompts longer where documents
    are up to twice as long as the p99 of the other prompts, and a third shorter where they are four
    times as long.

    Source: the same engines, two draws.
    """
    others = float(np.quantile(CHAT.sample.prompt_tokens, 0.99))
    for tokens, times, low, high in (
        (SHORTER, 1.2, 1.3, 1.6),
        (8000, 1.9, 1.1, 1.3),
        (16_000, 3.9, 0.55, 0.7),
    ):
        checks.close(
            f"{tokens:,} tokens over the p99", tokens / others, times, rtol=0.05, kind="stated"
        )
        checks.inside(f"{tokens:,} tokens: with over without", _small_limit(tokens), low, high)


def check_whom_the_order_costs() -> None:
    """When the shortest are read first, long prompts wait up to a third longer, and the p90 of
    times per token is longer by up to an eighth.

    Source: the record, medians of long prompts; the p90 of times per token.
    """
    for mix in MIXES:
        for load in (0.5, 0.7):
            later = _over(mix, load, "shortest", "long_p50")
            checks.inside(f"{mix} at {load:g}: long prompts, times as late", later, 0.5, 1.34)
            slower = _over(mix, load, "shortest", "token_p90")
            checks.inside(f"{mix} at {load:g}: time per token", slower, 0.95, 1.125)


def check_blocked_share() -> None:
    """Of a simulated engine's arrivals, the share that comes while a document is being read is the
    rate of documents times the time that one takes.

    Source: the times of the documents themselves in one engine, with the next arrivals.
    """
    asked = _ask("documents", 0.1, 5).workload  # of four engines' load, on one
    long = asked.prompt_tokens == MIXES["documents"][2]
    got = serve_copies(asked, _engine_for("documents"), 1)
    spent = (got.first_token_s - got.read_s)[long]
    rate = asked.arrival_s.size / float(asked.arrival_s[-1])
    told = blocked_share(rate, float(long.mean()), float(spent.mean()))
    begins, ends = np.sort(got.read_s[long]), np.sort(got.first_token_s[long])
    came = asked.arrival_s[~long]
    reading = np.searchsorted(begins, came) - np.searchsorted(ends, came)
    checks.close("share", float((reading > 0).mean()), told, rtol=0.25, kind="simulation")
