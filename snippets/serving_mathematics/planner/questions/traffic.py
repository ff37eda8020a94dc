"""What one replica of n sees when every request goes to a replica at random.

A stream whose gaps are independent with squared coefficient of variation C, split at random, leaves
each replica gaps that are sums of a geometric number of the old ones: mean n times as long, squared
coefficient of variation 1 + (C − 1)/n. So a share is drawn directly, whatever n. A trace is split
request by request, and a share of n + 1 is then contained in one of n.

Traffic may be a mixture of classes, each with its lengths; every request is of a class at random,
so a share has the same mixture.

Assumes: replicas know nothing of each other (no least-loaded routing); lengths are independent of
arrivals, geometric unless a trace gives them.

Source: `continuous_batching` for Poisson arrivals with geometric lengths; the mean and variance of
a geometric sum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import Workload, chat_workload
from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_in,
    require_non_negative_integer,
    require_positive,
    require_positive_integer,
    widen_fields,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
KINDS = ("means", "agents", "chat", "customers")  # what requests behind routers may be like
USUAL_LENGTHS = 1000.0, 250.0  # mean tokens of prompts and answers, where nothing is said


@dataclass(frozen=True)
class TrafficClass:
    """A kind of request: its share of all, and its lengths. Raises ValueError outside the ranges
    that the fields name.

    >>> TrafficClass("agents", 0.3, mean_prompt_tokens=8000.0).mean_output_tokens
    250.0
    """

    name: str
    share: float  # of the requests, in (0, 1]
    mean_prompt_tokens: float = USUAL_LENGTHS[0]  # at least 1
    mean_output_tokens: float = USUAL_LENGTHS[1]  # at least 1
    cached_share: float = 0.0  # of each prompt, that a prefix cache has, in [0, 1)
    like: str = KINDS[0]  # of what a fleet behind a router gets, see `routed_requests`

    def __post_init__(self) -> None:
        """Refuse what is not a class."""
        widen_fields(self)
        require_in("(0, 1]", share=self.share)
        _require_lengths(self)


@dataclass(frozen=True)
class Traffic:
    """Requests to the whole fleet: a rate, a burstiness and mean lengths. Raises ValueError outside
    the ranges that the fields name, and when classes are given whose shares are not 1 together, or
    whose means are not these.

    >>> Traffic(rate_per_s=0.0)
    Traceback (most recent call last):
    ValueError: rate_per_s must be positive and finite, got 0.0
    """

    rate_per_s: float  # λ
    arrival_scv: float = 1.0  # squared coefficient of variation of the gaps; 1 is Poisson
    mean_prompt_tokens: float = USUAL_LENGTHS[0]  # at least 1
    mean_output_tokens: float = USUAL_LENGTHS[1]  # at least 1
    cached_share: float = 0.0  # of each prompt, that a prefix cache has, in [0, 1)
    classes: tuple[TrafficClass, ...] = ()  # of which it is a mixture; their lengths count then
    like: str = KINDS[0]  # of what a fleet behind a router gets, see `routed_requests`

    def __post_init__(self) -> None:
        """Refuse what is not traffic."""
        widen_fields(self)
        require_positive(rate_per_s=self.rate_per_s)
        finite = 0 <= self.arrival_scv < math.inf
        require(finite, "arrival_scv", "non-negative and finite", self.arrival_scv)
        _require_lengths(self)
        whole = sum(one.share for one in self.classes)
        rule = "classes whose shares are 1 together"
        require(not self.classes or abs(whole - 1) < 1e-9, "classes", rule, f"{whole:.10g}")
        for name in ("mean_prompt_tokens", "mean_output_tokens") if self.classes else ():
            mean = sum(one.share * getattr(one, name) for one in self.classes)
            same = math.isclose(mean, getattr(self, name), rel_tol=1e-9)
            require(same, name, f"the mean of the classes, {mean:.10g}", getattr(self, name))


def _require_lengths(asked: Traffic | TrafficClass) -> None:
    require_in("[0, 1)", cached_share=asked.cached_share)
    require(asked.like in KINDS, "like", f"one of {', '.join(KINDS)}", repr(asked.like))
    for name in ("mean_prompt_tokens", "mean_output_tokens"):
        value = require_positive(**{name: getattr(asked, name)})
        require(value >= 1, name, "finite and at least 1", value)


MOST_DRAWN = 10_000_000  # requests whose class is drawn at once


def mixed_traffic(
    rate_per_s: float, classes: tuple[TrafficClass, ...], arrival_scv: float = 1.0
) -> Traffic:
    """Traffic of several classes, with the mean lengths that follow.

    rate_per_s: of all together. classes: at least one, shares 1 together. Raises ValueError
    otherwise.

    >>> classes = TrafficClass("chat", 0.75, 800.0), TrafficClass("agents", 0.25, 8000.0)
    >>> mixed_traffic(4.0, classes).mean_prompt_tokens
    2600.0
    """
    arrival_scv = as_number(arrival_scv=arrival_scv)
    require(len(classes) > 0, "classes", "one or more", "none")
    prompt, output = (
        math.fsum(one.share * getattr(one, name) for one in classes)
        for name in ("mean_prompt_tokens", "mean_output_tokens")
    )
    return Traffic(rate_per_s, arrival_scv, prompt, output, 0.0, classes)


def drawn_classes(rng: np.random.Generator, traffic: Traffic, requests: int) -> IntArray:
    """The class of each request, by its place in the traffic's classes, shape (requests,).

    requests: how many. All are 0 where the traffic has no classes. Raises ValueError where they
    are not a count.

    >>> drawn_classes(np.random.default_rng(0), Traffic(1.0), 3).tolist()
    [0, 0, 0]
    """
    requests = require_non_negative_integer(requests=requests)
    require(requests <= MOST_DRAWN, "requests", f"at most {MOST_DRAWN:,}", requests)
    shares = np.array([one.share for one in traffic.classes] or [1.0])
    return np.searchsorted(np.cumsum(shares)[:-1], rng.random(requests), side="right")


def share_of_traffic(
    rng: np.random.Generator,
    traffic: Traffic,
    replicas: int,
    requests: int,
    which: IntArray | None = None,
) -> Workload:
    """Requests to one of the replicas, as many as asked for. Poisson traffic comes from
    `chat_workload`; other gaps are geometric sums of gamma times.

    replicas: n. requests: how many the replica gets. which: the class of each, from
    `drawn_classes`, which traffic of several needs. Raises ValueError unless both counts are
    positive integers and the classes are as many.
    """
    replicas = require_positive_integer(replicas=replicas)
    rate = traffic.rate_per_s / replicas
    cached_share: float | FloatArray = traffic.cached_share
    if traffic.classes:
        given = which is not None and which.shape == (requests,)
        require(given, "which", f"the classes of {requests} requests", which)
        of, kinds = np.asarray(which), traffic.classes
        asked = chat_workload(rng, rate, requests)  # for its times
        prompts = rng.geometric(1 / np.array([one.mean_prompt_tokens for one in kinds])[of])
        outputs = rng.geometric(1 / np.array([one.mean_output_tokens for one in kinds])[of])
        asked = Workload(asked.arrival_s, prompts, outputs)
        cached_share = np.array([one.cached_share for one in kinds])[of]
    else:
        asked = chat_workload(
            rng, rate, requests, traffic.mean_prompt_tokens, traffic.mean_output_tokens
        )
    cached = np.floor(cached_share * asked.prompt_tokens)
    if traffic.arrival_scv == 1:
        return Workload(asked.arrival_s, asked.prompt_tokens, asked.output_tokens, cached)
    merged = rng.geometric(1 / replicas, requests).astype(float)  # gaps that became one
    if traffic.arrival_scv > 0:
        merged = traffic.arrival_scv * rng.gamma(merged / traffic.arrival_scv)
    times = np.cumsum(merged) / traffic.rate_per_s
    return Workload(times, asked.prompt_tokens, asked.output_tokens, cached)


def _cut_at(asked: Workload, most: int) -> Workload:
    """Requests of so many tokens at most."""
    if int((asked.prompt_tokens + asked.output_tokens).max()) <= most:  # nearly always
        return asked
    prompts = np.minimum(asked.prompt_tokens, most - 1)
    outputs = np.minimum(asked.output_tokens, most - prompts)
    cached = np.minimum(asked.cached_tokens, prompts - 1)
    return Workload(asked.arrival_s, prompts, outputs, cached)


def shares_of_trace(
    rng: np.random.Generator, asked: Workload, replicas: int, requests: int
) -> list[Workload]:
    """Random shares of a trace, of the replicas with the lowest numbers that hold enough requests
    together.

    asked: the trace. replicas: n. requests: enough; all replicas are returned when they hold fewer.
    Those that get no request are left out. Raises ValueError unless both are positive.
    """
    requests = as_number(requests=requests)
    replicas = require_positive_integer(replicas=replicas)
    require(requests >= 1, "requests", "positive", requests)
    chosen = np.floor(rng.random(asked.arrival_s.size) * replicas)
    order = np.argsort(chosen, kind="stable")  # by replica, in order of arrival
    ends = np.append(np.flatnonzero(np.diff(chosen[order])) + 1, order.size)
    last = int(np.searchsorted(ends, min(requests, order.size)))
    return [asked.part(mine) for mine in np.split(order, ends[:-1])[: last + 1]]


def check_classes_are_mixed() -> None:
    """A share of traffic with classes has each in its share, with its own mean lengths.

    Source: 40,000 requests, within three standard errors of shares and means by hand.
    """
    kinds = TrafficClass("chat", 0.7, 800.0, 200.0), TrafficClass("agents", 0.3, 6000.0, 90.0, 0.5)
    traffic, size = mixed_traffic(6.0, kinds), 40_000
    which = drawn_classes(np.random.default_rng(1), traffic, size)
    share = share_of_traffic(np.random.default_rng(2), traffic, 3, size, which)
    for place, kind in enumerate(kinds):
        mine = which == place
        error = math.sqrt(kind.share * (1 - kind.share) / size)
        checks.close(
            f"share of {kind.name}",
            float(mine.mean()),
            kind.share,
            atol=3 * error,
            kind="simulation",
        )
        for label, tokens, mean in (
            ("in", share.prompt_tokens[mine], kind.mean_prompt_tokens),
            ("out", share.output_tokens[mine], kind.mean_output_tokens),
        ):
            error = mean / math.sqrt(mine.sum())
            name = f"tokens {label} of {kind.name}"
            checks.close(name, float(tokens.mean()), mean, atol=3 * error, kind="simulation")
        cached = np.floor(kind.cached_share * share.prompt_tokens[mine])
        same = bool(np.array_equal(share.cached_tokens[mine], cached))
        checks.equal(f"cached of {kind.name}", same, True)


def check_share_as_if_split() -> None:
    """A share drawn directly has the rate and the gaps of one that is split off request by request.

    Source: a stream of 200,000 gamma gaps with C = 4, of which each request is kept with
    probability 1/3.
    """
    rng = np.random.default_rng(5)
    times = np.cumsum(rng.gamma(1 / 4, 4 / 6.0, 200_000))
    gaps = np.diff(times[rng.random(times.size) < 1 / 3])
    drawn = np.diff(share_of_traffic(rng, Traffic(6.0, 4.0), 3, 60_000).arrival_s)
    error = math.sqrt(gaps.var() / gaps.size + drawn.var() / drawn.size)
    difference = MeanEstimate(float(gaps.mean() - drawn.mean()), error, 0.0)
    checks.covers("difference of the mean gaps [s]", difference, 0.0)
    for level in (0.1, 1.0):
        shares = [float((part < level).mean()) for part in (gaps, drawn)]
        spread = math.sqrt(sum(s * (1 - s) for s in shares) / drawn.size)
        label = f"difference of the shares below {level:g} s"
        checks.covers(label, MeanEstimate(shares[0] - shares[1], spread, 0.0), 0.0)


def check_every_request_goes_somewhere() -> None:
    """The shares of a trace hold every request once, and one of seven lies within one of six.

    Source: counting.
    """
    size = 500
    asked = Workload(np.arange(size), np.arange(1, size + 1), np.ones(size))
    shares = shares_of_trace(np.random.default_rng(1), asked, 7, size)
    together = np.sort(np.concatenate([share.prompt_tokens for share in shares]))
    checks.equal("requests of all shares", together.tolist() == asked.prompt_tokens.tolist(), True)
    six = shares_of_trace(np.random.default_rng(1), asked, 6, 1)[0]
    within = np.isin(shares[0].prompt_tokens, six.prompt_tokens).all()
    checks.holds("the first of seven in the first of six", bool(within))
