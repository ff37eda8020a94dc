"""One table of fields, from which the command's options, the files of questions and the form in the
browser are made: name, unit, rule, help and default stand here and nowhere else.

Whatever a value comes from, it is read by the same rule, and a refusal names the field, its rule
and what was given.

Assumes: nothing about the input.

Source: the fields' own quantities, as the chapters define them; RFC 8259 for numbers in JSON.
"""

# In one piece: a table, which has no seam: that it is one is what it is for.

from __future__ import annotations

import difflib
import html
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from serving_mathematics.core.hardware.deployments import MEMORY_SHARE, RESERVED_BYTES
from serving_mathematics.core.hardware.fronts import FRONTS
from serving_mathematics.planner.questions.traffic import KINDS
from serving_mathematics.support import checks
from serving_mathematics.support.digits import sized
from serving_mathematics.support.require import require

Values = Mapping[str, object]
MOST_REQUESTS = 200_000  # that are simulated in a fleet
MOST_BEHIND = 256  # replicas behind routers
MOST_GPUS = 100_000
AUTO = "auto"  # stands for a number that is found
OTHER = "given below by its numbers"  # the device of the form that is none
FIRST, DEPLOYMENT, TRAFFIC = "", "GPUs, formats and price", "traffic"
ENGINE, BEHIND, RUN = "engine", "routers and host memory", "simulation"

UNITS = {"%": 0.01, "ms": 1e-3, "k": 1e3, "k/s": 1e3} | dict.fromkeys(
    ("", "s", "/s", "/h", "$"), 1.0
)
_BY_RATE, _UNNAMED = "traffic=rate", f"device={OTHER}"  # when the form asks

MEMORY = {"gib": 1.0, "tib": 1024.0}  # of fields in GiB; GB may be of 1000 or of 1024


@dataclass(frozen=True)
class Field:
    """One thing that may be asked for: what it is, its unit, its range, and what it is when nothing
    is given.

    >>> Field("seed", "Seed of the simulation", "", 0, 9, 0, whole=True).label
    'Seed of the simulation'
    """

    name: str
    help: str
    unit: str = ""
    low: float = 0.0
    high: float = 0.0  # 0: text
    default: float | str | None = None
    whole: bool = False
    several: bool = False  # numbers, separated by commas
    auto: bool = False  # a number, or AUTO
    group: str = FIRST  # of the form; those without stand open at its head
    choices: tuple[str, ...] = ()  # no other text will do
    when: str = ""  # the control and the value with which the form asks for it
    start: str = ""  # what the form asks where there is no default

    @property
    def span(self) -> str:
        """What a number may be, in words."""
        return f"{self.low:.10g} to {self.high:.10g}{f', or {AUTO}' if self.auto else ''}"

    @property
    def label(self) -> str:
        """What it is, with its unit."""
        return f"{self.help} ({self.unit})" if self.unit else self.help

    @property
    def heading(self) -> tuple[str, str]:
        """What it is in a few words, and what is to be said beside them.

        >>> Field("seed", "Seed: of the simulation").heading
        ('Seed', 'of the simulation')
        """
        first, *more = re.split("[:;] ", self.help, maxsplit=1)
        return first, "".join(more)

    @property
    def rule(self) -> str:
        """What a number must be."""
        return f"{'a whole number' if self.whole else 'a number'} from {self.span}"

    @property
    def option(self) -> str:
        """What the command calls it."""
        return f"--{self.name.replace('_', '-')}"


_TABLE = {  # of the form's groups, in its order
    FIRST: (
        Field("model", "Model: a name, or the path of a config.json", default="Llama-3.1-8B"),
        Field("device", "GPU; several are compared", default="H100"),
        Field(
            "rate_per_s",
            "Requests a second: to the whole fleet; users divided by the seconds between two "
            "requests of each",
            *("", 1e-4, 1e5),
            when=_BY_RATE,
            start="60",
        ),
        Field(
            "gpus",
            "GPUs instead of a rate: those that you have, and how much they carry",
            *("", 1, MOST_GPUS),
            whole=True,
        ),
        Field("mean_prompt_tokens", "Tokens of a prompt, mean", "", 1, 1e6, 1000, when=_BY_RATE),
        Field("mean_output_tokens", "Tokens of an answer, mean", "", 1, 1e5, 250, when=_BY_RATE),
        Field("ttft_s", "Time to first token, TTFT", "s", 1e-4, 100, 1.0),
        Field("tpot_s", "Time per token, TPOT", "s", 1e-5, 2, 0.05),
    ),
    TRAFFIC: (
        Field(
            "quantile",
            "Share that keeps them: of the requests, for each limit",
            *("", 0.01, 0.9999, 0.99),
        ),
        Field("e2e_s", "E2E latency: time to the last token, where it is promised", "s", 1e-3, 1e4),
        Field(
            "goodput",
            "Goodput: share of requests that keep all limits together, where that is promised",
            *("", 0.01, 0.9999),
        ),
        Field(
            "arrival_scv",
            "Burstiness: squared CV of the gaps, 1 is Poisson",
            *("", 0, 100, 1),
            when=_BY_RATE,
        ),
        Field(
            "cached_share",
            "Prefix cache: share of each prompt that it is taken to hold",
            *("", 0, 0.999, 0.0),
            when=_BY_RATE,
        ),
        Field(
            "classes",
            "Kinds of requests: such as chat:0.7:prompt=800,ttft=1; agents:0.3:prompt=8000,ttft=5",
            when=_BY_RATE,
        ),
        Field("trace", "Trace: requests as CSV or JSON lines", when="traffic="),
        Field(
            "trace_columns",
            "Columns of the trace: where they are not known, time=t,prompt=in,output=out,unit=ms",
            when="traffic=",
        ),
    ),
    DEPLOYMENT: (
        Field(
            "precision",
            "Weights: any compares the checkpoint's with 8 bits, auto takes the "
            "checkpoint's; or bf16, fp8, fp4, int4",
            default="any",
        ),
        Field(
            "cache_precision",
            "KV cache: auto takes 8 bits where a model was brought to 4, else 16",
            default="auto",
            choices=("auto", "bf16", "fp8"),
        ),
        Field(
            "price_per_hour",
            "Price of a GPU: or one for each that is compared",
            *("$ an hour", 1e-4, 1e5, 2.0),
            several=True,
        ),
        Field(
            "other_devices",
            "Other GPUs: how many would do, and below which price they are cheaper; or none",
            default="H100, H200, B200",
        ),
        Field(
            "parallelism",
            "Split of a replica: auto, or such as tp4, tp8ep8, dp8ep8; several are compared",
            default="auto",
        ),
        Field(
            "peak_tflops",
            "Peak, dense: in 16 bits; links, kernels and twice as much in 8 bits are an H100's",
            *("TFLOP/s", 0.1, 1e6),
            when=_UNNAMED,
        ),
        Field("bandwidth_gb_per_s", "Memory bandwidth", "GB/s", 1, 1e6, when=_UNNAMED),
        Field("memory_gib", "Memory", "GiB", 0.1, 1e5, when=_UNNAMED),
        Field("power_w", "Power: on the data sheet, for the energy", "W", 1, 1e4, when=_UNNAMED),
        Field(
            "spot_share",
            "Spot share: of all GPUs that are compared, those that are interruptible, as if never "
            "interrupted",
            *("", 0, 1, 0.0),
        ),
        Field("spot_discount", "Spot discount: share by which those are cheaper", "", 0, 0.99, 0.6),
        Field(
            "spare_replicas",
            "Spare replicas: bought besides, so that as many may fail",
            *("", 0, 1000, 0),
            whole=True,
        ),
        Field("price_per_kwh", "Price of a kWh: for what the energy costs", "$", 1e-3, 100),
        Field("grams_per_kwh", "CO₂ of a kWh: of your grid", "g", 0.1, 3000),
        Field("api_input_price", "API, 10⁶ tokens in: price to compare with", "$", 1e-4, 1e4),
        Field("api_output_price", "API, 10⁶ tokens out: price to compare with", "$", 1e-4, 1e4),
    ),
    ENGINE: (
        Field("backend", "Engine", default="vllm", choices=("vllm", "sglang", "trtllm")),
        Field(
            "front",
            "Front: what stands before the GPUs, or stood in a load test; benchmark is tuned, "
            "unknown any",
            default="benchmark",
            choices=tuple(FRONTS),
        ),
        Field(
            "fleets",
            "Fleets: two compares separate GPUs for prompts and answers",
            default="one",
            choices=("one", "two"),
        ),
        Field("prompt_device", "GPU for prompts: of two fleets, one of those above, in any split"),
        Field("answer_device", "GPU for answers: of two fleets, one of those above, in any split"),
        Field(
            "token_budget",
            "Tokens in a step: at most; found where it is not given",
            *("", 1, 1e6),
            whole=True,
        ),
        Field(
            "batch_limit",
            "Sequences in a step: at most; found where it is not given",
            *("", 1, 1024),
            whole=True,
        ),
        Field(
            "memory_share",
            "Share of the memory: that the engine may use",
            *("", 0.01, 1, MEMORY_SHARE),
        ),
        Field(
            "reserved_gib",
            "Reserved memory: of each GPU, for activations and libraries",
            *("GiB", 0, 1000, RESERVED_BYTES / 2**30),
        ),
        Field(
            "draft_tokens",
            "Tokens guessed: in a step, by speculative decoding",
            *("", 0, 16, 0),
            whole=True,
        ),
        Field(
            "accepted_tokens",
            "Tokens accepted: what a step yields with guesses, with the one that is always right",
            *("", 1, 17, 1.0),
        ),
        Field(
            "drafter",
            "Drafter: mtp, the model's own heads; ngram, the text so far; or a draft model",
            default="mtp",
        ),
        Field(
            "load_test",
            "Load test: files, or load:TTFT:TPOT in seconds, such as 16:0.25:0.011, 64:0.6:0.02",
        ),
    ),
    BEHIND: (
        Field(
            "replicas",
            "Replicas: behind routers, which are compared, and what caches find is a result; auto "
            "for the fewest that keep the promise",
            *("", 1, MOST_BEHIND),
            whole=True,
            auto=True,
        ),
        Field(
            "routers",
            "Routers: such as random, least-requests, session, cache-aware:cache_threshold=0.5; "
            "endpoint-picker",
        ),
        Field(
            "like",
            "Kind of traffic: drawn by its means, or like sessions of coding agents, a chat, or "
            "customers whose prompts begin alike",
            default=KINDS[0],
            choices=KINDS,
            when=_BY_RATE,
        ),
        Field(
            "host_memory_gib",
            "Host memory: of a replica, for its prefixes; several are compared",
            *("GiB", 0, 1e5, 0.0),
            several=True,
        ),
        Field("host_link_gb_per_s", "Host link: from host memory to a GPU", "GB/s", 1, 1e4, 50.0),
        Field(
            "disk_gib",
            "Disk: of a replica, for what host memory has no room for",
            *("GiB", 0, 1e7, 0.0),
        ),
        Field(
            "disk_gb_per_s",
            "Disk link: from that disk; one drive of PCIe 5.0 where nothing is said",
            *("GB/s", 0.01, 1e4, 13.0),
        ),
        Field(
            "store_gib", "Store: on other machines, which all replicas share", "GiB", 0, 1e7, 0.0
        ),
        Field(
            "store_gb_per_s",
            "Store link: from that store to a replica; a port of 400 Gbit/s where nothing is said",
            *("GB/s", 0.01, 1e4, 50.0),
        ),
        Field(
            "weights",
            "Fair shares: weights of the kinds of requests, in their order",
            *("", 1e-3, 1e3),
            several=True,
        ),
        Field(
            "lost_for_s",
            "Lost for: a replica is lost, and so long after it another serves in its place",
            *("s", 1, 1e5),
        ),
    ),
    RUN: (
        Field(
            "requests",
            "Requests: to simulate in each fleet",
            *("", 100, MOST_REQUESTS, 4000),
            whole=True,
        ),
        Field("seed", "Seed: of the simulation", "", 0, 2**32, 0, whole=True),
    ),
}
FIELDS = {
    field.name: replace(field, group=group) for group, fields in _TABLE.items() for field in fields
}

CALLED = {  # what engines and load generators call a field, which is spelt like others here
    **dict.fromkeys(("qps", "rps", "request_rate", "requests_per_second"), "rate_per_s"),
    **dict.fromkeys(("isl", "input_tokens", "input_len"), "mean_prompt_tokens"),
    **dict.fromkeys(("osl", "output_len", "answer_tokens"), "mean_output_tokens"),
    **dict.fromkeys(("itl", "inter_token_latency"), "tpot_s"),
    **dict.fromkeys(("tp", "tensor_parallel_size"), "parallelism"),
    **dict.fromkeys(("dtype", "quantization"), "precision"),
    **dict.fromkeys(("gpu_count", "num_gpus"), "gpus"),
    **dict.fromkeys(("batch_size", "max_batch_size", "max_num_seqs"), "batch_limit"),
    "model_name": "model",
    "hardware": "device",
    "vram": "memory_gib",
    "percentile": "quantile",
    "kv_cache_dtype": "cache_precision",
    "max_num_batched_tokens": "token_budget",
    "gpu_memory_utilization": "memory_share",
    "gpu_price": "price_per_hour",
    "spares": "spare_replicas",
}
GIVEN, LIKE = "given", "H100"  # a device by its numbers, and whose links and kernels it has
SHEET = ("peak_tflops", "bandwidth_gb_per_s", "memory_gib")  # instead of `device`
LENGTHS = ("mean_prompt_tokens", "mean_output_tokens")
MEANS = (*LENGTHS, "cached_share")
DRAWN = ("rate_per_s", "arrival_scv", *MEANS, "classes", "like")


def read_value(name: str, given: object) -> float | str:
    """A field's value from text or a number.

    name: of the field. given: as it came, also a Path where text may name a file. Raises ValueError
    that names field, rule and value.

    >>> read_value("seed", "32"), read_value("rate_per_s", 0.5)
    (32, 0.5)
    >>> read_value("rate_per_s", "many")
    Traceback (most recent call last):
    ValueError: rate_per_s must be a number from 0.0001 to 100000, got 'many'
    """
    field = find_field(name)
    shown = repr(given) if len(repr(given)) <= 60 else f"{repr(given)[:60]}…"
    if not field.high:
        if isinstance(given, os.PathLike):
            given = str(Path(given).absolute())  # which no name of a model looks like
        fine = isinstance(given, str) and 0 < len(given) <= 1000
        require(fine, name, "a name of 1 to 1000 characters", shown)
        return str(given)
    if field.auto and isinstance(given, str) and given.strip().lower() == AUTO:
        return AUTO
    if field.several and isinstance(given, str) and "," in given:
        for part in given.split(","):
            read_value(name, part.strip())
        return given
    rule, number = field.rule, math.nan
    if isinstance(given, np.ndarray | np.generic) and given.ndim == 0:
        given = given.item()  # as a sweep over numpy's numbers has them
    if isinstance(given, str | int | float) and not isinstance(given, bool):
        plain = not isinstance(given, str) or (given.isascii() and "_" not in given)
        try:
            number = float(given) if plain else math.nan
        except (ValueError, OverflowError):
            number = math.nan
    fine = field.low <= number <= field.high and (not field.whole or number % 1 == 0)
    meant = math.nan if fine else meant_number(field, str(given))
    if field.low <= meant <= field.high and (not field.whole or meant % 1 == 0):
        rule += f" (did you mean {meant:.10g}?)"
    require(fine, name, rule, shown)
    return int(number) if field.whole else number


def meant_number(field: Field, text: str) -> float:
    """What a number with a unit, or in another unit than the field's, most likely says; NaN where
    that is unclear. It is proposed and never taken.

    field: that was asked. text: as it came.

    >>> meant_number(Field("tpot_s", "Time per token", "s", 1e-5, 2), "50 ms")
    0.05
    """
    digits = r"(\d{1,3}(?:[,_]\d{3})+|\d{1,15})([.,]\d{1,9})?"
    found = re.fullmatch(rf"\s*[p$]?\s*{digits}\s*(\D{{0,4}}?)\s*", text, re.ASCII | re.IGNORECASE)
    units = UNITS | (MEMORY if field.unit == "GiB" else {})
    if not found or found[3].lower() not in units:
        return math.nan
    number = float(re.sub("[,_]", "", found[1]) + (found[2] or "").replace(",", "."))
    scale = units[found[3].lower()]
    if scale == 1 and number > max(1.0, field.high):
        scale = 1e-3 if field.unit == "s" else 0.01 if field.high <= 1 else 1.0
    return float(f"{scale * number:.12g}")


def _rule_attributes(field: Field) -> str:
    """What the page needs to refuse a number before Python is there, as `read_value` does."""
    if not field.high:
        return ""
    rule = f' data-rule="{field.rule}" data-low="{field.low:.10g}" data-high="{field.high:.10g}"'
    rule += f' data-unit="{field.unit}"' if field.unit else ""
    rule += " data-whole" * field.whole + " data-several" * field.several
    rule += f' data-word="{AUTO}"' if field.auto else ""
    instead = '="gpus"' if field.name == "rate_per_s" else ""
    empty = field.default is None and (instead or field.name not in {*DRAWN, *SHEET})
    return rule + f" data-empty{instead}" * bool(empty)


def _unit_names() -> str:
    """The units that a number may be written with, for a form's attribute."""
    return html.escape(json.dumps(UNITS | MEMORY))


def find_field(name: str) -> Field:
    """The field of a name. Raises ValueError with the one that was meant.

    >>> find_field("seed").default
    0
    """
    if name == "users":
        raise ValueError(f"there is no field 'users'; {_users_as_rate()}")
    if name not in FIELDS:
        begun = [field for field in FIELDS if name and field.startswith(name)]
        begun = [CALLED[name]] if name in CALLED else begun
        near = begun or difflib.get_close_matches(name, FIELDS, 1, 0.7)
        hint = f"; did you mean {near[0]}?" if near else f"; fields are {', '.join(FIELDS)}"
        raise ValueError(f"there is no field {name[:60]!r}{hint}")
    return FIELDS[name]


def _users_as_rate(count: str = "") -> str:
    """What is to be given instead of users, and which rate so many are who ask once a minute.

    count: of the users as it came; where it is no number, 60 are.

    >>> _users_as_rate("500").partition("included: ")[2]
    '500 who each ask once a minute are 8.33 a second'
    """
    users = int(count) if re.fullmatch(r"[1-9]\d{0,8}", count, re.ASCII) else 60
    return (
        "give rate_per_s, users divided by the seconds between two requests of each, waiting "
        f"included: {users:,} who each ask once a minute are {sized(users / 60)} a second"
    )


def check_defaults_are_read() -> None:
    """Every default is a value that the field itself would accept.

    Source: `read_value` on each default.
    """
    for name, field in FIELDS.items():
        if field.default is not None:
            checks.equal(name, read_value(name, str(field.default)), field.default)
