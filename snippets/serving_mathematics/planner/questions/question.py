"""What is asked: a deployment, its traffic, what is promised, and the limits within which to plan.

Assumes: that a deployment, its split and its memory can be is looked at by the functions that they
are handed to.

Source: vLLM's engine arguments for the limits that its server starts with; on a TPU it knows no
memory, `tpu_platform.py`.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.hardware.deployments import MEMORY_SHARE, RESERVED_BYTES, Deployment
from serving_mathematics.core.hardware.fronts import FRONTS, Front, front_constants
from serving_mathematics.core.hardware.step_time import Constants
from serving_mathematics.core.hardware.systems import System
from serving_mathematics.machine.predictions.own_runs import Calibration
from serving_mathematics.planner.questions.objectives import Promise
from serving_mathematics.planner.questions.routed_requests import TO_CUT, Routing
from serving_mathematics.planner.questions.traffic import (
    KINDS,
    USUAL_LENGTHS,
    Traffic,
    TrafficClass,
    _cut_at,
    drawn_classes,
    share_of_traffic,
)
from serving_mathematics.support.require import (
    require,
    require_all_non_negative,
    require_in,
    require_non_negative,
    require_non_negative_integer,
    require_positive,
    require_positive_integer,
    require_shape,
)

_RULES: dict[str, Callable[..., Any]] = {  # of what is not None, or may not be
    **dict.fromkeys(("requests", "token_budget", "batch_limit", "gpus"), require_positive_integer),
    **dict.fromkeys(("seed", "spare_replicas"), require_non_negative_integer),
    **dict.fromkeys(("price_per_hour", "power_w"), require_positive),
    **dict.fromkeys(("usd_per_kwh", "grams_per_kwh", "reserved_bytes"), require_non_negative),
    "memory_share": functools.partial(require_in, "(0, 1]"),
    "spot_saves": functools.partial(require_in, "[0, 1)"),
}
FEW_CUT = 0.005  # of the drawn requests, that the context may cut without a word
USUAL = (  # of vLLM's server (0.34), by least memory [GiB]: of an A100, a GB10 or a TPU the last
    (160, (16384, 1024)),
    (70, (8192, 1024)),
    (0, (2048, 256)),
)


@dataclass(frozen=True)
class Question:
    """What is to be planned. Raises ValueError on counts, prices and powers that are none, on
    traffic over no time, and where nothing is promised.

    >>> from serving_mathematics.core.hardware.deployments import WORKED as LLAMA
    >>> from serving_mathematics.planner.questions.objectives import promised
    >>> from serving_mathematics.planner.questions.traffic import Traffic
    >>> question = Question(LLAMA, Traffic(5.0), promised(1.0, 0.05))
    >>> question.deployment.devices, question.usual_limits
    (1, (8192, 1024))
    """

    deployment: Deployment  # of one replica; its lengths and load are not used
    traffic: Traffic | Workload  # or a trace, from `read_requests`
    promise: Promise
    price_per_hour: float = 2.0  # of a device
    memory_share: float = MEMORY_SHARE  # for weights and cache
    token_budget: int | None = None  # tokens in a step; found where it is None
    batch_limit: int | None = None  # sequences in a step, at most; found where it is None
    requests: int = 4000  # that are simulated in the search
    seed: int = 0
    reserved_bytes: float = RESERVED_BYTES  # of a device, for activations and libraries [B]
    spare_replicas: int = 0  # that may fail, bought beside those that keep the objective
    class_promises: tuple[Promise, ...] = ()  # of each class of the traffic, in their order
    separate: bool = False  # prompts and answers on fleets of their own, see `separate_fleets`
    prompts: tuple[Deployment, float] | None = None  # that take prompts, where unlike; their price
    calibration: Calibration | None = None  # of the step model, from a load test
    checkpoint: str = ""  # what engines load; the name of the architecture where it is empty
    front: Front = FRONTS["benchmark"]  # before the devices, where no load test settles it

    power_w: float | None = None  # of a device by its data sheet, where none is known of it
    usd_per_kwh: float | None = None
    grams_per_kwh: float | None = None  # CO₂ of the reader's grid
    api_usd: tuple[float, float] | None = None  # of an API, for 10⁶ tokens in and out
    routing: Routing | None = None  # of a fleet that is given, whose routers are compared
    priced: bool = True  # whether the reader gave the price
    spot_saves: float = 0.0  # share of the price that is saved, which it has already left out
    gpus: int | None = None  # that are there, where the rate that they carry is asked for

    def __post_init__(self) -> None:
        """Refuse what would be counted or paid as it is."""
        for name, rule in _RULES.items():
            value = getattr(self, name)
            if value is not None or getattr(Question, name) is not None:  # its default
                object.__setattr__(self, name, rule(**{name: value}))
        if self.api_usd is not None:
            require_shape((2,), api_usd=self.api_usd)
            require_all_non_negative(api_usd=self.api_usd)
        for promise in self.goals:
            fine = isinstance(promise, tuple) and len(promise) > 0
            fine = fine and all(hasattr(goal, "metric") for goal in promise)
            require(fine, "promise", "objectives, as `promised` makes them", promise)
        require(isinstance(self.front, Front), "front", "one of FRONTS", repr(self.front))
        self._refuse_traffic()

    def _refuse_traffic(self) -> None:
        traffic = self.traffic
        if isinstance(traffic, Workload):
            span, size = float(np.ptp(traffic.arrival_s)), traffic.arrival_s.size
            require(span > 0, "traffic", "over some time", f"{size} requests at one moment")
            return
        rule = "Traffic or a Workload"
        require(hasattr(traffic, "classes"), "traffic", rule, repr(traffic))
        kinds: Sequence[Traffic | TrafficClass] = (*traffic.classes, traffic)
        for kind in () if self.routing else kinds:
            usual = kind.mean_prompt_tokens, kind.mean_output_tokens
            rule = f"{KINDS[0]} without routing, unless lengths are the means of {kind.like}"
            require(kind.like == KINDS[0] or usual != USUAL_LENGTHS, "like", rule, kind.like)

    @property
    def mean_lengths(self) -> tuple[float, float]:
        """Tokens of a prompt and of an answer: those asked for, or what the context leaves of drawn
        ones."""
        traffic = self.traffic
        if isinstance(traffic, Workload):
            return float(traffic.prompt_tokens.mean()), float(traffic.output_tokens.mean())
        usual = traffic.mean_prompt_tokens, traffic.mean_output_tokens
        return self.left_by_context[1:] if self.left_by_context else usual

    @functools.cached_property
    def left_by_context(self) -> tuple[float, float, float] | None:
        """Share of drawn requests that the model's context cuts, and mean tokens of a prompt and of
        an answer that it leaves; None where it cuts next to none, and behind routers. Of a draw of
        its own, so that they are the same for every run of a plan."""
        traffic, most = self.traffic, self.deployment.architecture.context_tokens
        if isinstance(traffic, Workload) or self.routing:
            return None
        kinds: Sequence[Traffic | TrafficClass] = traffic.classes or (traffic,)
        if 20 * max(kind.mean_prompt_tokens + kind.mean_output_tokens for kind in kinds) < most:
            return None
        rng = np.random.default_rng(0)
        asked = share_of_traffic(rng, traffic, 1, TO_CUT, drawn_classes(rng, traffic, TO_CUT))
        left = _cut_at(asked, most)
        lengths = asked.prompt_tokens + asked.output_tokens
        cut = float(np.mean(left.prompt_tokens + left.output_tokens < lengths))
        means = float(left.prompt_tokens.mean()), float(left.output_tokens.mean())
        return None if cut < FEW_CUT else (cut, *means)

    @property
    def constants(self) -> Constants:
        """Of the step model: settled by the load test, or those behind the front."""
        return self.calibration.constants if self.calibration else front_constants(self.front)

    @property
    def served(self) -> str:
        """What engines load."""
        return self.checkpoint or self.deployment.architecture.name

    @property
    def goals(self) -> tuple[Promise, ...]:
        """What each class of requests keeps; where there are none, all requests are one."""
        return self.class_promises or (self.promise,)

    @property
    def replicas_there(self) -> int:
        """Replicas for which there are GPUs, without those that may fail; 0 where none are given,
        or too few."""
        return max(0, (self.gpus or 0) // self.deployment.devices - self.spare_replicas)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the classes, or of all requests together."""
        kinds = () if isinstance(self.traffic, Workload) else self.traffic.classes
        return tuple(kind.name for kind in kinds) or ("all requests",)

    def replicas_below(self, usd_per_hour: float) -> int:
        """The most replicas that are cheaper than so many dollars an hour; below 1 where none is.

        usd_per_hour: with those that may fail.
        """
        each = self.usd_per_hour(1) - self.usd_per_hour(0)
        return math.ceil(usd_per_hour / each - 1e-9) - 1 - self.spare_replicas

    def of_prompts(self) -> Self:
        """The same of the replicas that take prompts, where these are separate."""
        if self.prompts is None:
            return self
        deployment, price = self.prompts
        return replace(self, deployment=deployment, price_per_hour=price, prompts=None)

    def usd_per_hour(self, replicas: int) -> float:
        """Price of a fleet, with the replicas that may fail."""
        devices = self.deployment.devices * (replicas + self.spare_replicas)
        return self.price_per_hour * devices

    def usd_apart(self, prompts: int, answers: int) -> float:
        """Price of separate fleets an hour, each with the replicas that may fail."""
        return self.of_prompts().usd_per_hour(prompts) + self.usd_per_hour(answers)

    @property
    def usual_limits(self) -> tuple[int, int]:
        """Token budget and batch limit that vLLM's server starts with on such a device."""
        return _started_limits(self.deployment.system)


def _split_name(question: Question) -> str:
    """How a replica is split, in short, such as "tp4 ep4"; "tp1" for one device."""
    one = question.deployment
    widths = (("tp", one.tensor), ("pp", one.pipeline), ("dp", one.attention_data))
    words = [f"{name}{width}" for name, width in (*widths, ("ep", one.expert)) if width > 1]
    return " ".join(words) or "tp1"


def _is_tuned(question: Question) -> bool:
    """Whether steps are those of the published benchmarks."""
    return question.calibration is None and question.front == FRONTS["benchmark"]


def _nearest_is(question: Question) -> str:
    """Which of several deployments that are refused comes nearest, as the end of its refusal."""
    one = question.deployment
    on = f"{one.devices} × {one.system.shown} ({_split_name(question)})"
    return f", on {on} in {one.precision.upper()}, the nearest"


def _started_limits(system: System) -> tuple[int, int]:
    """Token budget and batch limit that vLLM's server starts with on a device."""
    few = system.generation == "tpu" or any(one in system.name for one in ("a100", "gb10"))
    gib = 0.0 if few else system.memory_bytes / 2**30
    return next(limits for least, limits in USUAL if gib >= least)


def _asked_rate(question: Question) -> float:
    """Requests a second to all replicas, of a trace on average."""
    traffic = question.traffic
    if isinstance(traffic, Workload):
        return (traffic.arrival_s.size - 1) / float(traffic.arrival_s[-1] - traffic.arrival_s[0])
    return traffic.rate_per_s


def _at_rate(question: Question, rate_per_s: float) -> Question:
    """The same question of another rate; requests of a trace come so much closer together, or
    farther apart."""
    if not isinstance(question.traffic, Workload):
        return replace(question, traffic=replace(question.traffic, rate_per_s=rate_per_s))
    trace = copy.copy(question.traffic)  # whose numbers have been looked at
    times = _asked_rate(question) / rate_per_s * trace.arrival_s
    object.__setattr__(trace, "arrival_s", times)
    return replace(question, traffic=trace)
