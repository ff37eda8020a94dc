"""The book's machines: four deployments that every chapter takes where an engine is meant.

| | what it is | who asks |
|---|---|---|
| CHAT | a dense model of eight billion parameters on one device | people, short conversations |
| MIXTURE | a mixture of experts on eight devices | people, long conversations that begin alike |
| AGENTS | a mixture of experts on eight devices | sessions of a coding agent |
| READER | a reader of lines of text on one core of a processor | images of lines |

Steps are those of the step model that thousands of published runs score, behind the front of the
benchmark that its constants come from: an engine as installed is the same machine with another
front. Memory is what the one memory function leaves, traffic is drawn like that of published
traces, and `how_wrong` says between which factors of a prediction the runs lie that are most like
it. Its places and token budget, promise and price are by choice.

The most that it can carry is 1/E[p + (N − 1) D(b)/b] requests a second, with p for a prompt, N
tokens of an answer, and b sequences in a step of D(b): all places, or as many as memory holds.

Assumes: what `deployed_engine` assumes; first come first served.

Source: `deployed_engine` and `step_time` for steps and memory, `traffic` for lengths,
records/planner_errors.json.gz for runs like it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import TICK_S, Engine, Workload
from serving_mathematics.core.batching.event_skipping import saturated_rate
from serving_mathematics.core.hardware.architectures import Architecture
from serving_mathematics.core.hardware.catalogue import find_model, find_system
from serving_mathematics.core.hardware.deployed_engine import MachineEngine, engine_of
from serving_mathematics.core.hardware.deployments import Deployment
from serving_mathematics.core.hardware.fronts import find_front, front_constants
from serving_mathematics.core.machines.sessions import SESSIONS, _under_way
from serving_mathematics.core.machines.traffic import Lengths, draw_lengths
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import read_record
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_non_negative,
    require_positive_integer,
)

FloatArray = npt.NDArray[np.float64]
SAMPLE = 20_000  # requests that stand for all, where a mean is taken
HOPPER = ("h100_sxm", "h200_sxm")  # whose runs are like these machines'


@dataclass(frozen=True)
class Promise:
    """What is promised: first token and time per token [s] of so large a share of requests."""

    ttft_s: float
    tpot_s: float
    share: float = 0.99


@dataclass(frozen=True)
class HowWrong:
    """Measured over predicted time per token of runs like a machine's: the bounds of the middle
    eight of ten, the median, and how many runs."""

    low: float
    middle: float
    high: float
    runs: int


@dataclass(frozen=True)
class Machine:
    """A deployment and its traffic; what is not a field is worked out when first asked for."""

    name: str
    what: str
    model: str
    device: str
    devices: int
    backend: str
    precision: str
    places: int  # sequences at once, at most
    token_budget: int  # tokens of a step, at most
    promise: Promise
    device_price_per_hour: float  # [$]
    traffic: str  # of `traffic.TRACES`, or SESSIONS
    kind: Literal["engine"] = "engine"  # tells it from a reader
    front: str = "benchmark"  # of `fronts.FRONTS`: what stands before the devices

    def __str__(self) -> str:
        """Name and limits, by which records tell machines apart."""
        return f"{self.name} of {self.places} places and {self.token_budget} tokens"

    @property
    def price_per_hour(self) -> float:
        """Of all its devices [$]."""
        return self.devices * self.device_price_per_hour

    @property
    def sample(self) -> Lengths:
        """Requests that stand for all."""
        return _sample(self.traffic, self.model)

    @property
    def deployment(self) -> Deployment:
        """Model, devices and load."""
        return Deployment(
            _architecture(self.model),
            find_system(self.device),
            self.backend,
            self.precision,
            input_tokens=float(self.sample.prompt_tokens.mean()),
            output_tokens=float(self.sample.output_tokens.mean()),
            concurrency=float(self.places),
            tensor=self.devices,
        )

    @property
    def made(self) -> MachineEngine:
        """The engine, and what the first token takes beside it."""
        return _made(self)

    @property
    def engine(self) -> Engine:
        """What the simulators of `core.batching` and `core.fleet` run."""
        return self.made.engine

    @property
    def cache_tokens(self) -> int:
        """Tokens that the cache holds."""
        return self.engine.kv_blocks * self.engine.block_tokens

    @property
    def mean_context_tokens(self) -> float:
        """Of a sequence while it decodes, weighted by its steps."""
        later = self.sample.output_tokens - 1.0
        held = self.sample.prompt_tokens + self.sample.output_tokens / 2
        return float((later * held).sum() / later.sum())

    def step_s(self, sequences: npt.ArrayLike, context_tokens: float | None = None) -> FloatArray:
        """Time of a step in which so many sequences each get a token [s], of the same shape.

        sequences: from 0 to the places. context_tokens: of each; on average, where it is None.
        """
        counts = as_floats(sequences=sequences)
        require_all_non_negative(sequences=counts)
        most = float(np.max(counts))
        require(most <= self.places, "sequences", f"at most {self.places} places", most)
        context = self.mean_context_tokens if context_tokens is None else context_tokens
        engine = self.engine
        own = engine.step_s + counts * (engine.decode_token_s + engine.context_token_s * context)
        if engine.table:
            batch = np.array(engine.table.batch)
            own = own + TICK_S * np.interp(counts, np.arange(batch.size), batch)
        return np.asarray(own)

    def prompt_s(self, tokens: npt.ArrayLike, cached: npt.ArrayLike = 0) -> FloatArray:
        """Time of prompts beside the steps that carry them [s], shape (n,).

        tokens, cached: of each, whole numbers, shape (n,).
        """
        whole = np.atleast_1d(tokens)
        asked = Workload(np.zeros(whole.size), whole, np.ones(whole.size), cached)
        fresh = asked.prompt_tokens - asked.cached_tokens
        own = self.engine.prefill_token_s * fresh
        return np.asarray(own + TICK_S * self.engine.prompt_ticks(asked))

    @property
    def sequences_at_most(self) -> int:
        """Places, or as many of the mean sequence as memory holds."""
        kept = self.sample.prompt_tokens + self.sample.output_tokens - 1.0
        prompts = self.prompt_s(self.sample.prompt_tokens, self.sample.cached_tokens)
        alone_s = prompts + float(self.step_s(1)) * self.sample.output_tokens  # how long each stays
        held = float(np.average(kept, weights=alone_s))
        return max(1, min(self.places, int(self.cache_tokens / held)))

    @property
    def ceiling_per_s(self) -> float:
        """Requests a second that it can carry at most, by the closed form, where every prefix is
        found."""
        return _ceiling_per_s(self)

    @property
    def ceiling_tokens_per_s(self) -> float:
        """Tokens of answers a second that it can carry at most."""
        return self.ceiling_per_s * float(self.sample.output_tokens.mean())

    def limited(self, places: int | None = None, token_budget: int | None = None) -> Self:
        """The same machine with other limits, positive integers; its own where there is none."""
        most = self.places if places is None else places
        budget = self.token_budget if token_budget is None else token_budget
        most, budget = require_positive_integer(places=most, token_budget=budget)
        return replace(self, places=int(most), token_budget=int(budget))

    @property
    def how_wrong(self) -> HowWrong:
        """How measured times per token compare with predicted ones, in the record's runs of the
        same model on as many devices of the same generation; the model was left out of the fit."""
        record = read_record("planner_errors")
        place = {name: number for number, name in enumerate(record["columns"])}
        name = _architecture(self.model).name.split("/")[-1].removeprefix("Meta-")
        ratios = [
            row[place["tpot_ratio"]]
            for row in record["rows"]
            if row[place["model"]].removeprefix("Meta-") == name
            and row[place["system"]] in HOPPER
            and row[place["devices"]] == self.devices
        ]
        require(len(ratios) > 0, "model", "one with runs in the record", name)
        low, middle, high = np.quantile(ratios, [0.1, 0.5, 0.9]).tolist()
        return HowWrong(low, middle, high, len(ratios))


@functools.cache
def _architecture(model: str) -> Architecture:
    return find_model(model)[0]


@functools.cache
def _sample(traffic: str, model: str) -> Lengths:
    """Requests that stand for all."""
    rng = np.random.default_rng(0)
    if traffic != SESSIONS:
        return draw_lengths(rng, traffic, SAMPLE)
    _, seen = _under_way(rng, 1.0, SAMPLE, _architecture(model).context_tokens)
    outputs = seen.output_tokens.astype(np.int64)
    return Lengths(seen.prompt_tokens, seen.reused_tokens, outputs)


@functools.cache
def _made(machine: Machine) -> MachineEngine:
    """The engine of a machine, with tables for every length of its traffic."""
    lengths = machine.sample
    asked = Workload(
        np.zeros(lengths.prompt_tokens.size), lengths.prompt_tokens, lengths.output_tokens
    )
    longest = int(lengths.prompt_tokens.max() + lengths.output_tokens.max())
    if machine.traffic == SESSIONS:
        longest = machine.deployment.architecture.context_tokens
    return engine_of(
        machine.deployment,
        asked,
        machine.token_budget,
        machine.places,
        constants=front_constants(find_front(machine.front)),
        longest=min(longest, machine.deployment.architecture.context_tokens),
    )


@functools.cache
def _ceiling_per_s(machine: Machine) -> float:
    """With places that are always taken, as many as memory holds."""
    lengths = machine.sample
    limited = replace(machine.engine, max_sequences=machine.sequences_at_most)
    return saturated_rate(
        lengths.prompt_tokens, lengths.output_tokens, limited, lengths.cached_tokens
    )


CHAT = Machine(
    "chat",
    "Llama 3.1 8B in 16 bits on one H100, asked by people in short conversations",
    model="Llama-3.1-8B",
    device="H100",
    devices=1,
    backend="vllm",
    precision="bf16",
    places=256,
    token_budget=2048,
    promise=Promise(1.0, 0.05),
    device_price_per_hour=2.0,
    traffic="conversations",
)

INSTALLED = replace(CHAT, front="ml-energy")  # the same behind an engine as installed, of 2025
L40S = replace(CHAT, name="L40S", device="L40S")  # a fourth of the bandwidth
LARGE = replace(CHAT, name="large", model="Llama-3.1-70B", devices=4)  # nine times the parameters

MIXTURE = Machine(
    "mixture",
    "Kimi K2.5, a mixture of 384 experts, on eight H200, asked by people in long conversations",
    model="Kimi-K2.5",
    device="H200",
    devices=8,
    backend="vllm",
    precision="int4",
    places=64,
    token_budget=2048,
    promise=Promise(10.0, 0.1, 0.9),
    device_price_per_hour=2.6,
    traffic="long conversations",
)

SHORT_MIXTURE = replace(MIXTURE, traffic=CHAT.traffic, places=256)  # asked as *chat* is

AGENTS = Machine(
    "agents",
    "MiniMax M2.5, a mixture of 256 experts, on eight H200, asked by sessions of a coding agent",
    model="MiniMax-M2.5",
    device="H200",
    devices=8,
    backend="vllm",
    precision="fp8",
    places=64,
    token_budget=2048,
    promise=Promise(10.0, 0.05, 0.9),
    device_price_per_hour=2.6,
    traffic=SESSIONS,
)


def check_the_cache_by_hand() -> None:
    """The chat machine's cache holds what weights, activations and libraries leave of one device.

    Source: (0.9·80 − 4)·2³⁰ − 2·8,029,995,008 bytes, over blocks of 16 tokens of 131,072 bytes.
    """
    spare = (0.9 * 80 - 4) * 2**30 - 2 * 8_029_995_008
    checks.equal("tokens", CHAT.cache_tokens, 16 * int(spare // (16 * 131_072)))


def check_a_step_against_bytes() -> None:
    """One sequence's step takes longer than reading the weights once at the data sheet's rate, and
    less than twice as long; so does a step of all places, over weights and their cache.

    Source: 2·(8,029,995,008 − 525,336,576) bytes of weights that a step reads, 3.35 TB/s; the
    vocabulary's table of inputs is not read.
    """
    least = 2 * (8_029_995_008 - 128_256 * 4096) / 3.35e12
    alone, full = CHAT.step_s([1, CHAT.places]).tolist()
    checks.inside("a step alone, over reading its weights", alone / least, 1.0, 2.0)
    cache = CHAT.places * CHAT.mean_context_tokens * 131_072 / 3.35e12
    checks.inside("a full step, over reading all", full / (least + cache), 1.0, 2.0)


def check_how_wrong_is_said_of_many() -> None:
    """For each machine there are 40 runs or more, and the middle eight of ten lie within a third of
    what was predicted.

    Source: the record's runs, whose model was left out of the fit.
    """
    for machine in (CHAT, MIXTURE, AGENTS):
        found = machine.how_wrong
        checks.inside(f"{machine.name}: runs", found.runs, 40, 1000)
        checks.inside(f"{machine.name}: low", found.low, 0.67, found.middle, kind="measured")
        checks.inside(f"{machine.name}: high", found.high, found.middle, 1.33, kind="measured")
