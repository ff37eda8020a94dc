"""What is asked of a fleet behind routers: requests that say what their prompts share, and routers
by name.

Requests are drawn, for each kind like those of a published trace, or read from a file whose prompts
say what they share. Kinds are mixed into one stream; a kind is a tenant. Sessions of a file whose
times are since their start begin at random, and are cut where one begins to look.

Assumes: kinds that are independent of each other; of a file's sessions, that an answer took
NOMINAL_TOKEN_S a token.

Source: `core.machines` for the kinds, `core.fleet.traces` for files, `core.fleet.routers` for the
rules and their parameters.
"""

# In one piece: what is asked, drawn or read, ends in one kind of request, of which kinds, files and
# routers each say a part.

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.fleet.design import Route
from serving_mathematics.core.fleet.prefixes import Prefixes
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.routers import ROUTERS
from serving_mathematics.core.fleet.sessions import AGENT, draw_sessions
from serving_mathematics.core.fleet.sharing import session_of
from serving_mathematics.core.fleet.traces import has_known_form, read_trace
from serving_mathematics.core.hardware.catalogue import compared, nearest
from serving_mathematics.core.hardware.deployments import possible
from serving_mathematics.core.machines.customers import PREAMBLE, _preambles, _who_asks
from serving_mathematics.core.machines.sessions import (
    NOMINAL_TOKEN_S,
    session_requests,
    sessions_under_way,
)
from serving_mathematics.core.machines.traffic import draw_lengths
from serving_mathematics.planner.questions.trace_formats import read_requests
from serving_mathematics.planner.questions.traffic import (
    KINDS,
    Traffic,
    TrafficClass,
    mixed_traffic,
    share_of_traffic,
)
from serving_mathematics.support import checks
from serving_mathematics.support.files import read_text
from serving_mathematics.support.require import (
    require,
    require_positive,
    require_positive_integer,
    require_work,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
AGENTS_KIND = "agents"
SHARING = (AGENTS_KIND, "customers")  # whose prompts begin alike
DAY_S = 86_400.0
TO_CUT = 20_000  # requests that are drawn to see what is cut
ENDLESS = 2**40  # tokens of a request where nothing is
OF_A_KIND = 4000  # requests that tell the means of a kind
ALIASES = {
    "random": "at random",
    "leastloaded": "least requests",
    "poweroftwo": "two choices",
    "sticky": "session",
    "prefixaware": "cache aware",
    "sglang": "cache aware",
    "gateway": "endpoint picker",
    "dynamo": "least work",
}
LOOKING = (  # that look for prefixes or sessions, in compared form
    *("session", "sticky", "cacheaware", "prefixaware", "endpointpicker", "leastwork"),
    *("sglang", "gateway", "dynamo"),
)
TELL_SHARING = ('"hash_ids"', '"session_id"', '"requests"', "reusable_tokens")  # in a trace's file
BY_LOAD = ("random", "two-choices", "least-requests")  # compared where prompts share nothing
BY_PREFIX = ("random", "least-requests", "session", "cache-aware", "endpoint-picker")


@dataclass(frozen=True)
class Router:
    """A rule of `core.fleet.routers`: what it was asked as, and the rule with its parameters."""

    name: str
    route: Route

    @property
    def least_match(self) -> float:
        """The share of a prompt that it asks for before it follows it; 0 where it asks for none."""
        return float(_whole_rule(self)[1].get("cache_threshold", 0.0))


@dataclass(frozen=True)
class Below:
    """A tier of caches below host memory: its name, room [GiB] and bandwidth to a replica [B/s],
    and whether all replicas share it."""

    name: str
    gib: float
    bytes_per_s: float
    for_all: bool = False


@dataclass(frozen=True)
class Routing:
    """A fleet, and what is compared for it. replicas: 0 for the fewest that keep the promise.
    weights: of the kinds, for fair sharing, or none. lost_for_s: until another serves in the place
    of a replica that is lost [s], 0 where none is. requests: of a trace, in place of drawn ones;
    rate_per_s: at which they come."""

    replicas: int
    routers: tuple[Router, ...]
    host_gib: tuple[float, ...]  # of a replica
    host_bytes_per_s: float  # from host memory, of each device
    weights: tuple[float, ...] = ()
    lost_for_s: float = 0.0
    requests: Requests | None = None
    rate_per_s: float | None = None
    below: tuple[Below, ...] = ()  # tiers below host memory, the fastest first


def read_routers(text: str) -> tuple[Router, ...]:
    """Routers by name, with parameters where others are wanted than those of their documents.

    text: names that commas separate, or semicolons where one has parameters. Raises ValueError with
    the nearest name, or the parameters that a rule has.

    >>> [one.name for one in read_routers("random; cache-aware:cache_threshold=0.5")]
    ['random', 'cache-aware:cache_threshold=0.5']
    """
    parts = [part.strip() for part in re.split("[;,]" if ":" not in text else ";", text)]
    found = [_router(part) for part in parts]
    names = [one.name for one in found]
    rules = [_whole_rule(one) for one in found]
    for place, rule in enumerate(rules):
        first = rules.index(rule)
        known = f"of different rules ({names[first]} is there)"
        require(first == place, "routers", known, names[place])
    return tuple(found)


def _whole_rule(router: Router) -> tuple[Any, dict[str, Any]]:
    """A rule with all of its parameters, those of its documents too."""
    rule = getattr(router.route, "func", router.route)
    known = list(inspect.signature(rule).parameters.values())[2:]
    return rule, {one.name: one.default for one in known} | getattr(router.route, "keywords", {})


def _router(text: str) -> Router:
    said, _, rest = text.partition(":")
    form = compared(said)
    rules = {compared(name): name for name in ROUTERS} | ALIASES
    if form not in rules:
        near = nearest(said, [*(name.replace(" ", "-") for name in ROUTERS), *ALIASES])
        raise ValueError(f"routers: {said[:60]!r} is not known; nearest: {near}")
    rule = ROUTERS[rules[form]]
    own = {compared(name): name for name in list(inspect.signature(rule).parameters)[2:]}
    given: dict[str, float | int | bool] = {}
    for word in filter(None, (word.strip() for word in rest.split(","))):
        name, _, value = word.partition("=")
        known = f"one of {', '.join(own.values())}, once" if own else "none"
        name = compared(name)
        fine = name in own and own[name] not in given
        require(fine, f"routers: a parameter of {said.strip()[:60]}", known, repr(word[:60]))
        default = inspect.signature(rule).parameters[own[name]].default
        given[own[name]] = _parameter(f"routers: {own[name]}", value, default)
    shown = form if said.strip() in ("", form) else "-".join(said.strip().lower().split())
    words = ",".join(f"{name}={value:g}" for name, value in given.items())
    return Router(f"{shown}:{words}" if words else shown, functools.partial(rule, **given))


def _parameter(name: str, value: str, default: object) -> float | int | bool:
    """A number, or yes and no where that is meant."""
    text = value.strip().lower()
    if isinstance(default, bool):
        require(text in ("true", "false"), name, "true or false", repr(value[:40]))
        return text == "true"
    plain = re.fullmatch(r"\d{1,12}(\.\d{1,12})?", text, re.ASCII)
    require(plain, name, "a number, not negative", repr(value[:40]))
    if isinstance(default, float):
        return float(text)
    require(float(text) % 1 == 0, name, "a whole number", repr(value[:40]))
    return int(float(text))


def _mixed(parts: Sequence[Requests]) -> Requests:
    """Requests of several kinds as one stream; each kind is a tenant."""
    sizes = [part.arrival_s.size for part in parts]
    starts = np.concatenate([part.arrival_s[part.after < 0][session_of(part)] for part in parts])
    order = np.argsort(starts, kind="stable")  # sessions stay in their order
    rank = np.argsort(order, kind="stable")
    trees = [part.prefixes for part in parts]
    nodes = np.cumsum([0, *(0 if tree is None else tree.parent.size for tree in trees)])

    def column(name: str) -> npt.NDArray[np.int64]:
        return np.concatenate([getattr(part, name) for part in parts])[order]

    def numbers(columns: Sequence[IntArray], first: IntArray) -> IntArray:
        """Numbers of requests or nodes, among all of them."""
        moved = [np.where(x >= 0, x + at, -1) for x, at in zip(columns, first, strict=False)]
        return np.concatenate(moved)

    def of_trees(name: str, size_of: Sequence[int]) -> list[IntArray]:
        """A column of each tree; of who has none, −1 for each request."""
        return [
            np.full(size, -1) if tree is None else getattr(tree, name)
            for tree, size in zip(trees, size_of, strict=True)
        ]

    none, prefixes = [0] * len(parts), None
    if any(tree is not None for tree in trees):
        prefixes = Prefixes(
            numbers(of_trees("parent", none), nodes),
            np.concatenate(of_trees("tokens", none)),
            numbers(of_trees("node", sizes), nodes)[order],
            numbers(of_trees("answer_node", sizes), nodes)[order],
        )
    after = numbers([part.after for part in parts], np.cumsum([0, *sizes]))[order]
    return Requests(
        column("arrival_s"),
        column("prompt_tokens"),
        column("output_tokens"),
        tenant=np.repeat(np.arange(len(parts)), sizes)[order],
        after=np.where(after >= 0, rank[after], -1),
        pause_s=column("pause_s"),
        prefixes=prefixes,
    )


def drawn_requests(
    rng: np.random.Generator, traffic: Traffic, requests: int, context_tokens: int
) -> Requests:
    """Requests of all kinds of traffic, as tenants in their order.

    requests: about how many of all. context_tokens: that a request takes at most. Raises ValueError
    where prompts of a kind outgrow that.

    >>> asked = drawn_requests(np.random.default_rng(0), Traffic(5.0, like="chat"), 100, 8192)
    >>> int(asked.tenant.max()), asked.prefixes
    (0, None)
    """
    requests, context_tokens = require_positive_integer(
        requests=requests, context_tokens=context_tokens
    )
    require(context_tokens > 1, "context_tokens", "at least 2", context_tokens)
    require_work(20 * requests, requests=requests)
    parts = []
    for kind in _kinds_of(traffic):
        count = max(1, round(kind.share * requests))
        rate = kind.share * traffic.rate_per_s
        parts.append(_of_kind(rng, kind, rate, count, traffic.arrival_scv, context_tokens))
    return _mixed(parts)


def _kinds_of(traffic: Traffic) -> tuple[TrafficClass, ...]:
    """The kinds of requests; traffic without classes is one."""
    means = traffic.mean_prompt_tokens, traffic.mean_output_tokens
    return traffic.classes or (TrafficClass("all requests", 1.0, *means, like=traffic.like),)


def _of_kind(
    rng: np.random.Generator,
    kind: TrafficClass,
    rate_per_s: float,
    requests: int,
    arrival_scv: float,
    context_tokens: int,
) -> Requests:
    """Requests of one kind."""
    if kind.like == "customers":
        _require_room(kind, context_tokens > 2 * PREAMBLE, context_tokens)
    if kind.like == AGENTS_KIND:
        _require_room(kind, session_requests(context_tokens), context_tokens)
        return sessions_under_way(rng, rate_per_s, requests, context_tokens)
    means = kind.mean_prompt_tokens, kind.mean_output_tokens
    plain = share_of_traffic(rng, Traffic(rate_per_s, arrival_scv, *means), 1, requests)
    if kind.like == "customers":
        return _customers(rng, plain.arrival_s, context_tokens)
    prompts, outputs = plain.prompt_tokens, plain.output_tokens
    if kind.like == "chat":
        lengths = draw_lengths(rng, "conversations", requests)
        prompts, outputs = lengths.prompt_tokens, lengths.output_tokens
    prompts = np.minimum(prompts, context_tokens - 1)
    outputs = np.minimum(outputs, context_tokens - prompts)
    return Requests(plain.arrival_s, prompts, outputs)


def _require_room(kind: TrafficClass, fits: object, context_tokens: int) -> None:
    """Refuse prompts that are longer than any request may be in this deployment."""
    rule = f"other than {kind.like} where context and cache hold {context_tokens:,} tokens at most"
    possible(fits, "like", rule, kind.like)


def _customers(rng: np.random.Generator, arrival_s: FloatArray, context_tokens: int) -> Requests:
    """Conversations of the chat machine's customers, as short as a context asks for."""
    lengths = draw_lengths(rng, "conversations", arrival_s.size)
    who = _who_asks(rng, arrival_s.size)
    own = np.minimum(lengths.prompt_tokens, context_tokens - PREAMBLE - 1)
    outputs = np.minimum(lengths.output_tokens, context_tokens - PREAMBLE - own)
    return Requests(arrival_s, PREAMBLE + own, outputs, prefixes=_preambles(who, own))


@functools.cache
def mean_lengths(like: str, context_tokens: int) -> tuple[float, float]:
    """Mean tokens of prompts and answers of a kind that a published trace tells.

    like: of KINDS. context_tokens: that a request takes at most. Raises ValueError on another kind.

    >>> 900 < mean_lengths("chat", 100_000)[0] < 1400
    True
    """
    context_tokens = require_positive_integer(context_tokens=context_tokens)
    require(like in KINDS[1:], "like", f"one of {', '.join(KINDS[1:])}", repr(like[:40]))
    kind = TrafficClass(like, 1.0, like=like)
    asked = _of_kind(np.random.default_rng(0), kind, 1.0, OF_A_KIND, 1.0, context_tokens)
    return float(asked.prompt_tokens.mean()), float(asked.output_tokens.mean())


@functools.cache
def _left_by(traffic: Traffic, most: int) -> tuple[float, float, float]:
    """Share of drawn requests that so many tokens cut, and mean tokens of a prompt and of an answer
    that they leave. Of sessions nothing is cut: agents begin anew before.

    >>> share, *means = _left_by(Traffic(1.0, 1.0, 4000.0, 1000.0), 8192)
    >>> round(share, 2), [round(mean, -2) for mean in means]
    (0.18, [3500.0, 800.0])
    """
    found = np.zeros(3)
    for kind in _kinds_of(traffic):
        left = [0.0, kind.mean_prompt_tokens, kind.mean_output_tokens]
        if kind.like != AGENTS_KIND:
            asked, kept = (
                _of_kind(np.random.default_rng(0), kind, 1.0, TO_CUT, 1.0, each)
                for each in (ENDLESS, most)
            )
            whole = asked.prompt_tokens + asked.output_tokens
            cut = kept.prompt_tokens + kept.output_tokens < whole
            left = [cut.mean(), kept.prompt_tokens.mean(), kept.output_tokens.mean()]
        found += kind.share * np.array(left)
    share, prompt, answer = found.tolist()
    return share, prompt, answer


def _nominal_s(asked: Requests) -> FloatArray:
    """When each request comes [s] where answers take NOMINAL_TOKEN_S a token, shape (n,).

    >>> asked = Requests([1.0, 0.0], [9, 9], [50, 1], after=[-1, 0], pause_s=[0.0, 2.0])
    >>> _nominal_s(asked).tolist()
    [1.0, 4.0]
    """
    found: list[float] = []
    took = (asked.pause_s + NOMINAL_TOKEN_S * asked.output_tokens[asked.after]).tolist()
    own = asked.arrival_s.tolist()
    for place, before in enumerate(asked.after.tolist()):
        found.append(max(own[place], found[before] + took[place]) if before >= 0 else own[place])
    return np.array(found)


def read_shared(path: str | os.PathLike[str], columns: str = "") -> Requests:
    """A file of requests that says what their prompts share, where it does.

    path: of the file. columns: as `trace_columns`, of a file that does not. Requests without an
    answer count one token. Raises ValueError with file, line and rule; OSError.

    >>> read_shared("no such file")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'no such file'
    """
    text = read_text(path)
    try:
        return _shared_requests(text, columns)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _shared_requests(text: str, columns: str = "") -> Requests:
    """The requests of a file's text: what tells nothing of sharing is read as for any plan, and so
    are the times of what does."""
    known = has_known_form(text)
    if known and any(name in text for name in TELL_SHARING):
        rule = "left out: the names of this trace are known, as it says what prompts share"
        require(not columns, "trace_columns", rule, repr(columns[:60]))
        asked = read_trace(text)
        if (asked.after < 0).all():
            with contextlib.suppress(ValueError):  # which the rows of a form of its own are to it
                asked = replace(asked, arrival_s=read_requests(text).arrival_s)
        return asked
    try:
        plain = read_requests(text, columns)
    except ValueError:
        if columns or not known:
            raise
        return read_trace(text)
    return Requests(plain.arrival_s, plain.prompt_tokens, plain.output_tokens)


def _begins_alone(asked: Requests) -> bool:
    """Whether the times of sessions are since their start, so that all begin at once."""
    later = asked.after >= 0
    return bool(later.any()) and not asked.arrival_s[~later].any()


def traced_share(
    rng: np.random.Generator, asked: Requests, requests: int, rate_per_s: float | None = None
) -> Requests:
    """Requests of a trace, at most so many.

    asked: the trace, from `read_shared`. requests: of them, at most. rate_per_s: instead of the
    trace's own. Sessions that begin alone begin at random in one day, or in as long as that rate
    says; what lasts longer goes on at its beginning, and who is cut comes back as a stranger.

    >>> trace = Requests([0.0, 0.0], [9, 9], [1, 1], after=[-1, 0], pause_s=[0.0, 5.0])
    >>> traced_share(np.random.default_rng(0), trace, 2).arrival_s.size
    2
    """
    requests = require_positive_integer(requests=requests)
    moments = _nominal_s(asked)
    size = asked.arrival_s.size
    if not _begins_alone(asked):
        order = np.argsort(moments, kind="stable")[:requests]
        factor = 1.0
        if rate_per_s is not None:
            own = size / max(float(moments.max()), 1e-9)
            factor = own / require_positive(rate_per_s=rate_per_s)
        kept = np.zeros(size, dtype=bool)
        kept[order] = True
        return _some(asked, kept, factor * asked.arrival_s, asked.after)
    session = session_of(asked)
    span = DAY_S if rate_per_s is None else size / require_positive(rate_per_s=rate_per_s)
    since = moments + rng.uniform(0.0, span, int(session.max()) + 1)[session]
    lap, within = np.divmod(since, span)
    before = np.where((asked.after >= 0) & (lap[asked.after] == lap), asked.after, -1)
    return _some(asked, within <= span * min(1.0, requests / size), within, before)


def _some(
    asked: Requests, kept: npt.NDArray[np.bool_], moments: FloatArray, before: IntArray
) -> Requests:
    """Requests that are kept, whose predecessors are, in order of when their sessions begin."""
    number = np.cumsum(kept) - 1
    rows = np.flatnonzero(kept)
    after = np.where(before[rows] >= 0, number[before[rows]], -1)
    part = Requests(
        np.zeros(rows.size),
        asked.prompt_tokens[rows],
        asked.output_tokens[rows],
        after=after,
        pause_s=np.where(after >= 0, asked.pause_s[rows], 0.0),
    )
    start = moments[rows][after < 0][session_of(part)]
    order = np.argsort(start, kind="stable")
    rank = np.argsort(order, kind="stable")
    tree = asked.prefixes
    return Requests(
        np.where(after < 0, moments[rows], 0.0)[order],
        part.prompt_tokens[order],
        part.output_tokens[order],
        after=np.where(after[order] >= 0, rank[after[order]], -1),
        pause_s=part.pause_s[order],
        prefixes=None
        if tree is None
        else replace(tree, node=tree.node[rows][order], answer_node=tree.answer_node[rows][order]),
    )


def _as_workload(asked: Requests) -> Workload:
    """The lengths of requests in order of their nominal moments."""
    moments = _nominal_s(asked)
    order = np.argsort(moments, kind="stable")
    return Workload(moments[order], asked.prompt_tokens[order], asked.output_tokens[order])


def check_kinds_are_in_their_shares() -> None:
    """A mixture has each kind at its rate, sessions with what they share and others with nothing.

    Source: counts of a run of 8,000; sessions scatter by a twentieth.
    """
    kinds = (
        TrafficClass("chat", 0.6, *mean_lengths("chat", 131_072), like="chat"),
        TrafficClass("agents", 0.4, *mean_lengths(AGENTS_KIND, 131_072), like=AGENTS_KIND),
    )
    traffic = mixed_traffic(10.0, kinds)
    asked = drawn_requests(np.random.default_rng(1), traffic, 8000, 131_072)
    checks.close("chat", float((asked.tenant == 0).sum()), 4800, atol=0)
    checks.close("agents", float((asked.tenant == 1).sum()), 3200, rtol=0.25, kind="simulation")
    assert asked.prefixes is not None
    known = asked.prefixes.node >= 0
    checks.equal("what is shared is the agents'", known.tolist(), (asked.tenant == 1).tolist())


def check_a_day_of_sessions_is_even() -> None:
    """Sessions that begin alone are spread over the time that their rate says: each quarter of it
    has a quarter of the requests, and every request comes once.

    Source: counts; 400 sessions of one agent law, half as many in each quarter as scatter allows.
    """
    drawn = draw_sessions(np.random.default_rng(2), AGENT, 400)
    spread = traced_share(np.random.default_rng(3), drawn, drawn.after.size, 2.0)
    checks.equal("requests", spread.after.size, drawn.after.size)
    counts = np.histogram(_nominal_s(spread), bins=4, range=(0, drawn.after.size / 2.0))[0]
    for quarter, count in enumerate((4 * counts / spread.after.size).tolist(), start=1):
        checks.close(f"quarter {quarter}", count, 1.0, rtol=0.25, kind="simulation")
