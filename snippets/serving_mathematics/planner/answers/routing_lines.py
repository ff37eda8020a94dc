"""What a fleet does behind each router, as lines, a sentence, a table and a record.

Assumes: an answer of `routing`.

Source: the chapters that the lines name.
"""

# In one piece: the sentence, the lines, the table and the record take the same numbers of a way,
# and who adds one to it adds it to all four.

from __future__ import annotations

from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.planner.answers.costs import _api_said
from serving_mathematics.planner.answers.lines import (
    NOT_KNOWN,
    Line,
    _all,
    _alone,
    _count,
    _cut_said,
    _deployed,
    _fleet_lines,
    _for_installed,
    _left_out,
    _of_steps,
    _paid_said,
    _per_second,
    _price_line,
    _promised,
    _promised_lines,
    _tuned,
    listed,
    overloaded,
    unmeasured,
    with_interval,
)
from serving_mathematics.planner.capacity_planner.fleet_search import EDGE, STEADY
from serving_mathematics.planner.capacity_planner.judged_requests import QUANTILES
from serving_mathematics.planner.capacity_planner.routed_runs import HOST, Way, _traffic
from serving_mathematics.planner.capacity_planner.routing import STILL_FILLING, Routed, TierWorth
from serving_mathematics.planner.capacity_planner.token_prices import _api_usd_per_hour
from serving_mathematics.planner.questions.question import _split_name
from serving_mathematics.planner.questions.routed_requests import _begins_alone
from serving_mathematics.planner.questions.traffic import Traffic
from serving_mathematics.support.digits import sized

ROUTERS_PAGE, CACHES_PAGE = "architecture/model-routers", "optimization/caching"


def routed_main(told: Routed) -> list[Line]:
    """The lines that decide, of a fleet behind routers.

    told: the answer.

    >>> from serving_mathematics.planner.configurations import _small_routed
    >>> [line.what for line in routed_main(_small_routed())][:3]
    ['replicas', 'a replica', 'tokens of a request, mean']
    """
    question, best = told.question, told.best
    return [
        *_fleet_lines(question, told.replicas, told.mean_lengths),
        Line("router", best.router.name, ROUTERS_PAGE),
        Line("host memory of a replica", _memory(best), CACHES_PAGE),
        Line(
            f"requests that keep {_all(question)}",
            f"{with_interval(best.kept, 100)}%",
            "definitions/slo-sla",
        ),
        *_promised_lines(best.classes),
        *(
            [Line("one replica fewer", _of_fewer(told), "capacity/autoscaling")]
            if told.fewer
            else []
        ),
        Line("prompt tokens that caches find", _finds(told), CACHES_PAGE),
        *(Line(f"from {one.name}", _worth(told, one), CACHES_PAGE) for one in told.tiers),
        *(
            [
                Line("no worse beyond noise", _equals(told), ROUTERS_PAGE),
                Line("left behind", _behind(told), ROUTERS_PAGE),
            ]
            if len(told.ways) > 1
            else []
        ),
        Line("if steps err", _kept_if_steps_err(told), "machine/predictions"),
        *_lost_lines(told),
        _price_line(told.usd_per_hour),
    ]


def _kept_if_steps_err(told: Routed) -> str:
    """Which share keeps all limits where steps are faster and slower."""
    error = told.error
    if not error.known:
        return NOT_KNOWN
    low, high = error.span()
    return (
        f"{sized(100 * told.if_faster)}% keep {_all(told.question)} at {low:.2f} of the predicted "
        f"times, {sized(100 * told.if_slower)}% at {high:.2f}"
    )


def _held(told: Routed) -> float:
    """Requests in a replica, by Little's law of the medians."""
    stay = told.best.ttft[0].value + told.mean_lengths[1] * told.best.tpot[0].value
    return told.rate_per_s / told.replicas * stay


def routed_lines(told: Routed) -> list[Line]:
    """All lines of a fleet behind routers.

    told: the answer.

    >>> from serving_mathematics.planner.configurations import _small_routed
    >>> routed_lines(_small_routed())[-1].what
    'requests of each router'
    """
    question, one = told.question, told.question.deployment
    limits = f"{told.places:,} sequences and {told.budget:,} tokens in a step"
    load = f"{100 * told.load:.0f}%{_with_prefixes(told)}"
    lines = [
        *routed_main(told),
        Line("limits of a replica", limits, "optimization/batching"),
        Line("traffic over the most that it could serve", load, "definitions/utilization"),
    ]
    if told.longest < one.architecture.context_tokens and isinstance(question.traffic, Traffic):
        said = f"{told.longest:,} tokens, which the cache of a replica holds"
        lines.append(Line("longest request", said, CACHES_PAGE))
    if isinstance(question.traffic, Workload):
        lines.append(Line("what was read", _read_of(told), "capacity/arrival-rates"))
    if told.tried > 1:
        said = f"the cheapest of {told.tried} that keeps the promise, or what keeps most"
        lines.append(Line("deployment", said, "machine/predictions"))
    what = f"{told.simulated:,} that count, the same for all; fewer of those that are far behind"
    lines.append(Line("requests of each router", what, ROUTERS_PAGE))
    return lines


_WHERE = {HOST: "in host memory", "disk": "on disk", "store": "in the store"}


def _memory(way: Way) -> str:
    return f"{way.host_gib:,g} GiB" if way.host_gib else "none"


def _read_of(told: Routed) -> str:
    """What was made of a trace."""
    routing = told.question.routing
    assert routing is not None
    trace = routing.requests
    assert trace is not None
    sessions = int((trace.after < 0).sum())
    said = f"{trace.after.size:,} requests"
    if sessions < trace.after.size:
        said += f" in {sessions:,} sessions"
    said += "" if trace.prefixes is not None else ", of which nobody says what prompts share"
    if _begins_alone(trace):
        said += ", which begin at random"
        said += "" if routing.rate_per_s else " in one day"
    if not routing.rate_per_s:
        said += "; the command takes another rate beside the trace, rate_per_s"
    return said


def _with(way: Way) -> str:
    return f"with {_memory(way)}" if way.host_gib else "without host memory"


def _finds(told: Routed) -> str:
    """What caches find, and whether they go on filling."""
    way = told.best
    said = f"{with_interval(way.found, 100)}%"
    reasons = []
    if way.rise > STILL_FILLING:
        more = f"{sized(100 * way.rise, 2)} points more in the second half than in the first"
        reasons.append(f"{more}: caches are still filling")
    if told.unseen > STILL_FILLING:
        many = f"{sized(100 * told.unseen, 2)} of 100 tokens"
        reasons.append(f"{many} are of sessions from before the run, which no cache knows yet")
    if reasons:
        said += f"; {'; '.join(reasons)}, so ask for more requests"
    return said


def _worth(told: Routed, one: TierWorth) -> str:
    """What a tier finds, how fast, and what would be kept without it."""
    load, compute = (sized(1e3 * each) for each in (one.load_s, one.compute_s))
    pays = "pays" if one.pays else "does not pay"
    return (
        f"{sized(100 * one.found, 2)}% of them all; 1,000 come in {load} ms and are computed in "
        f"{compute} ms: it {pays}; without it {with_interval(one.gain, 100)} of 100 requests fewer "
        f"keep {_all(told.question)}"
    )


def _way_name(way: Way, told: Routed) -> str:
    """A way, with its host memory where several were asked for."""
    several = len({one.host_gib for one in told.ways}) > 1
    return f"{way.router.name} {_with(way)}" if several else way.router.name


def _equals(told: Routed) -> str:
    ways = [way for way in told.ways if way is not told.best and told.as_good(way)]
    return listed([_way_name(way, told) for way in ways]) if ways else "none"


def _behind(told: Routed) -> str:
    """The others, by how many of a hundred requests they keep fewer."""
    ways = [way for way in told.ways if way.host_gib == told.best.host_gib]
    ways = [way for way in ways if not told.as_good(way)]
    ways.sort(key=lambda way: told.behind(way).value)
    said = [f"{way.router.name} by {with_interval(told.behind(way), 100)}" for way in ways]
    return f"{listed(said)} of 100 requests" if said else "none"


def _lost_lines(told: Routed) -> list[Line]:
    if told.lost is None:
        return []
    routing = told.question.routing
    assert routing is not None
    without, with_it = told.lost
    said = (
        f"{sized(100 * without)}% keep {_all(told.question)} of those that come in "
        f"{routing.lost_for_s:g} s after it, and {sized(100 * with_it)}% with it"
    )
    return [Line("while a replica is lost", said, "capacity/autoscaling")]


def routed_parts(told: Routed) -> tuple[str, list[str]]:
    """Which router to take in one sentence, and notes: what it brings, what makes it uncertain.

    told: the answer.

    >>> from serving_mathematics.planner.configurations import _small_routed
    >>> routed_parts(_small_routed())[0].partition(" in ")[0]
    'Behind random 2 replicas of Llama-3.1-8B'
    """
    question, best = told.question, told.best
    one_alone = told.replicas == 1
    sure = f"keep{'s' * one_alone}" if told.keeps else f"do{'es' * one_alone} not keep"
    sure = "may keep" if told.keeps and not told.sure else sure
    memory = f" with {_memory(best)} of host memory each" if best.host_gib else ""
    tuned = _tuned(question, told.error)
    safer = "largest number" if told.sought else "smallest share"  # of replicas, or of requests
    notes = [_if_full(told), _for_installed(tuned, safer), _if_cut(told)]
    if told.fewer:
        notes.append(f"With {told.replicas - 1:,}, {_of_fewer(told)}.")
    if best.found.value:
        rest = f"Caches find {sized(100 * best.found.value)}% of the prompt tokens"
        lower = [f"{sized(100 * one.found, 2)}% of all {_WHERE[one.name]}" for one in told.tiers]
        rest += f", {listed(lower)}." if lower else "."
        slow = [one.name for one in told.tiers if not one.pays]
        rest += f" Computing is faster than loading from {listed(slow)}." if slow else ""
        notes.append(rest)
    equal = _equals(told)
    notes.append(f"As good within noise: {equal}." if equal != "none" else "")
    others = [way for way in told.ways if not told.as_good(way) and way.host_gib == best.host_gib]
    if others:
        next_one = min(others, key=lambda way: told.behind(way).value)
        margin = with_interval(told.behind(next_one), 100)
        notes.append(f"{next_one.router.name} keeps {margin} of 100 fewer.")
    notes += [_nearly_matched(told), _more_memory(told), *_of_steps(question)]
    notes += [*_left_out(question), *_costs_asked(told)]
    low, high = (sized(100 * share) for share in (told.if_slower, told.if_faster))
    many = low if low == high else f"{low} to {high}"
    if told.error.known:
        many = f"If steps are as far off as in measured runs, {many}% keep {_all(question)}."
        notes.append(many)
    if best.rise > STILL_FILLING:
        notes.append("Caches were still filling: ask for more requests.")
    elif told.unseen > STILL_FILLING:
        notes.append(
            f"Up to {sized(100 * told.unseen, 2)}% more they would find if the run saw sessions "
            "from their beginning: ask for more requests."
        )
    first = "" if told.error.known else unmeasured(question, _held(told))
    first_ones = "first " if told.load >= 1 else ""  # then ever fewer
    more = question.spare_replicas
    spare = f"with {more} replica{'s' * (more > 1)} more that may fail, " if more else ""
    sentence = (
        f"{first}Behind {best.router.name} {_count(told.replicas)} of "
        f"{_deployed(question)}{memory} {sure} "
        f"{_promised(question)} for {_per_second(told.rate_per_s)}: "
        f"{with_interval(best.kept, 100)}% of the {first_ones}requests keep {_all(question)}, "
        f"{spare}{_paid_said(question, told.replicas)}{tuned}."
    )
    return sentence, [note.strip() for note in notes if note]


def _costs_asked(told: Routed) -> list[str]:
    """What an API takes for the same, and that energy is told of other plans, where asked."""
    question = told.question
    usd = _api_usd_per_hour(question, told.rate_per_s, told.mean_lengths)
    notes = [_api_said(usd, told.usd_per_hour / usd, told.load)] if usd else []
    notes = [f"The API, for the same, takes {said}." for said in notes]
    if question.usd_per_kwh is not None or question.grams_per_kwh is not None:
        notes.append("Energy is not told behind routers: ask without replicas.")
    return notes


def _if_full(told: Routed) -> str:
    """By how much a fleet is overloaded of which no latency is steady, or its intervals narrow."""
    if told.load <= EDGE:
        return ""
    if told.load < STEADY:
        share = f"At {100 * told.load:.0f}% of what the fleet could serve"
        return f" {share}{_with_prefixes(told)}, intervals are too narrow."
    return f" The fleet is {overloaded(told.load, told.rate_per_s)}{_with_prefixes(told)}."


def _if_cut(told: Routed) -> str:
    """What the context cut of drawn requests, or the cache of a replica."""
    if told.left is None:
        return ""
    own = told.longest < told.question.deployment.architecture.context_tokens
    most = f"{told.longest:,} tokens"
    most = f"{most} that the cache of a replica holds" if own else f"context of {most}"
    return _cut_said(_traffic(told.question), told.left, most)


def _with_prefixes(told: Routed) -> str:
    """Of what a load is, where caches find something."""
    return " with the prefixes that caches found" if told.best.found.value else ""


def _of_fewer(told: Routed) -> str:
    """What one replica fewer does behind the same router."""
    assert told.fewer is not None
    if told.fewer_load >= STEADY:
        return f"the fleet is {overloaded(told.fewer_load, told.rate_per_s)}"
    kept = f"{with_interval(told.fewer.kept, 100)}% keep {_all(told.question)}"
    return f"{kept}, which may do" if told.fewer_may_do else kept


def _nearly_matched(told: Routed) -> str:
    """A router that looks for prefixes and mostly misses them by a little."""
    said = [
        f" Most prompts match a little less than {way.router.name} asks for, "
        f"{sized(100 * way.router.least_match)}%; the real one counts characters, with the chat "
        "template: try a lower cache_threshold."
        for way in told.ways
        if way.short > 0.5 and way.host_gib == told.best.host_gib
    ]
    return "".join(said)


def _more_memory(told: Routed) -> str:
    """What each other amount of host memory would do behind the same router."""
    said = [
        f"{sized(100 * way.kept.value)}% {_with(way)}"
        for way in told.ways
        if way.router == told.best.router and way is not told.best
    ]
    return f" {told.best.router.name} keeps {listed(said)}." if said else ""


ROWS_ARE = (
    "GiB of host memory for each replica; the rest in percent: of the requests, those that keep "
    "all limits; of the prompt tokens, those that caches find, and those that come from host "
    "memory; and how many requests fewer are kept than by what is taken."
)


def routed_rows(told: Routed) -> list[list[str]]:
    """All ways as rows with a header, in the order in which they were asked for.

    told: the answer.

    >>> from serving_mathematics.planner.configurations import _small_routed
    >>> [row[0] for row in routed_rows(_small_routed())]
    ['router', 'random', 'two-choices', 'least-requests']
    """
    question = told.question
    several = len(told.best.classes) > 1
    heads = [one.name for one in told.best.classes] if several else []
    goals = [goal for goal in question.goals[0] if not goal.measure.of_all][:2]
    latencies = [] if several else [f"{g.measure.shown} [{g.measure.unit}]" for g in goals]
    heads = [f"keep {_all(question)}", *heads, *latencies, "found", "by host", "behind"]
    rows = [["router", "GiB", *heads]]
    for way in told.ways:
        each = [f"{100 * one.both.value:.1f}" for one in way.classes] if several else []
        if not several:
            each = [
                sized(goal.measure.scale * run.value) for goal, run in _alone(way.classes[0])[:2]
            ]
        behind = "taken" if way is told.best else with_interval(told.behind(way), 100)
        shares = f"{100 * way.found.value:.1f}", f"{100 * way.loaded:.1f}"
        kept = with_interval(way.kept, 100)
        rows.append([way.router.name, f"{way.host_gib:,g}", kept, *each, *shares, behind])
    return rows


def routed_record(told: Routed) -> dict[str, float | int | str]:
    """The same as one flat record.

    told: the answer.

    >>> from serving_mathematics.planner.configurations import _small_routed
    >>> routed_record(_small_routed())["replicas"]
    2
    """
    question, best, one = told.question, told.best, told.question.deployment
    record: dict[str, float | int | str] = {
        "model": question.served,
        "precision": one.precision,
        "device": one.system.name,
        "devices": one.devices,
        "parallelism": _split_name(question),
        "backend": one.backend,
        "rate_per_s": told.rate_per_s,
        "replicas": told.replicas,
        "spare_replicas": question.spare_replicas,
        "batch_limit": told.places,
        "token_budget": told.budget,
        "router": best.router.name,
        "host_memory_gib": best.host_gib,
        "kept": "yes" if told.keeps else "no",
        "both_kept": best.kept.value,
        "both_kept_half_width": best.kept.half_width,
        "found_share": best.found.value,
        "found_share_half_width": best.found.half_width,
        "host_share": best.loaded,
        **{f"{one.name}_share": one.found for one in told.tiers if one.name != HOST},
        **{
            f"{one.name.replace(' ', '_')}_{what}": value
            for one in told.tiers
            for what, value in (
                ("load_s", one.load_s),
                ("compute_s", one.compute_s),
                ("gain", one.gain.value),
            )
        },
        "both_kept_if_faster": told.if_faster if told.error.known else "",
        "both_kept_if_slower": told.if_slower if told.error.known else "",
        "load": told.load,
        "usd_per_hour": told.usd_per_hour,
    }
    for place, quantile in enumerate(QUANTILES):
        record[f"ttft_p{100 * quantile:g}_s"] = best.ttft[place].value
        record[f"tpot_p{100 * quantile:g}_s"] = best.tpot[place].value
    if told.fewer is not None:
        record["both_kept_by_one_fewer"] = told.fewer.kept.value
    if told.lost is not None:
        record |= {"both_kept_while_lost": told.lost[0], "both_kept_meanwhile": told.lost[1]}
    for way in told.ways:
        name = f"{way.router.name}_{way.host_gib:g}"
        record |= {
            f"{name}_both_kept": way.kept.value,
            f"{name}_found_share": way.found.value,
            f"{name}_behind": told.behind(way).value,
            f"{name}_behind_half_width": told.behind(way).half_width,
        }
    return record | {"compared": len(told.ways), "simulated_requests": told.simulated}
