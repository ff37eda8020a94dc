"""One table of fields for the command line, JSON and CSV files and the form in the browser.

Whatever a value comes from, it is read by the same rule, and a refusal names the field, its rule
and what was given; for files also the row and column, or the entry.

Assumes: nothing about the input.

Source: RFC 8259 for JSON, where the standard library is more lenient (repeated names, NaN);
RFC 4180 for CSV.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.hardware.architectures import Architecture
from serving_mathematics.core.hardware.catalogue import (
    compared,
    find_backend,
    find_model,
    find_precision,
    find_system,
)
from serving_mathematics.core.hardware.deployments import (
    DRAFTERS,
    MEMORY_SHARE,
    RESERVED_BYTES,
    Deployment,
    Impossible,
    own_precision,
    possible,
    require_deployment,
    weight_bytes,
)
from serving_mathematics.core.hardware.systems import System
from serving_mathematics.machine.predictions.own_runs import Calibration, calibrate
from serving_mathematics.planner.capacity_planner import Objective, Question
from serving_mathematics.planner.load_tests import read_load_runs, runs_of
from serving_mathematics.planner.model_errors import was_measured
from serving_mathematics.planner.trace_formats import read_requests
from serving_mathematics.planner.traffic import Traffic, TrafficClass, mixed_traffic
from serving_mathematics.support import checks
from serving_mathematics.support.files import read_json, read_table, read_text
from serving_mathematics.support.require import require

Values = Mapping[str, object]
MOST_QUESTIONS = 100_000  # in a grid


@dataclass(frozen=True)
class Field:
    """One thing that may be asked for: its range, and what it is when nothing is given.

    >>> Field("seed", "of the simulation", 0, 9, 0, whole=True).low
    0
    """

    name: str
    meaning: str
    low: float = 0.0
    high: float = 0.0  # 0: text
    default: float | str | None = None
    whole: bool = False
    several: bool = False  # numbers, separated by commas

    @property
    def span(self) -> str:
        """What a number may be, in words."""
        return f"{self.low:.10g} to {self.high:.10g}"


FIELDS = {
    field.name: field
    for field in (
        Field(
            "model", "model: a name, an alias or the path of a config.json", default="Llama-3.1-8B"
        ),
        Field(
            "precision",
            "of the weights: auto, bf16, fp8, fp4, int4; several are compared",
            default="auto",
        ),
        Field("cache_precision", "of the KV cache: auto, bf16, fp8", default="auto"),
        Field("device", "device: a name or an alias; several are compared", default="H100"),
        Field(
            "peak_tflops",
            "peak of another device, 16 bits, dense [10¹² FLOP/s]; links and kernels of an H100",
            0.1,
            1e6,
        ),
        Field("bandwidth_gb_per_s", "memory bandwidth of another device [10⁹ B/s]", 1, 1e6),
        Field("memory_gib", "memory of another device [2³⁰ B]", 0.1, 1e5),
        Field("backend", "engine: vllm, sglang, trtllm", default="vllm"),
        Field(
            "parallelism",
            "devices of a replica: auto, or such as tp4, tp8ep8, dp8ep8; several are compared",
            default="auto",
        ),
        Field(
            "fleets",
            "one, or two: separate replicas for prompts and answers are compared as well",
            default="one",
        ),
        Field(
            "draft_tokens",
            "tokens guessed in each step (speculative decoding)",
            0,
            16,
            0,
            whole=True,
        ),
        Field("accepted_tokens", "tokens that a step yields with guesses", 1, 17, 1.0),
        Field(
            "drafter",
            "what guesses: mtp (heads of the model), ngram (the text so far), or a draft model: a "
            "name, an alias or the path of a config.json",
            default="mtp",
        ),
        Field("memory_share", "share of the memory that the engine may use", 0.01, 1, MEMORY_SHARE),
        Field(
            "reserved_gib",
            "of a device for activations and libraries [2³⁰ B]",
            0,
            1000,
            RESERVED_BYTES / 2**30,
        ),
        Field("rate_per_s", "requests a second, to the whole fleet", 1e-4, 1e5),
        Field("arrival_scv", "burstiness: squared CV of the gaps, 1 is Poisson", 0, 100, 1),
        Field("mean_prompt_tokens", "mean tokens of a prompt", 1, 1e6, 1000),
        Field("mean_output_tokens", "mean tokens of an answer", 1, 1e5, 250),
        Field("cached_share", "share of each prompt that the prefix cache has", 0, 0.999, 0.0),
        Field(
            "classes",
            "kinds of requests: name:share:what differs, with ; between, such as "
            "chat:0.7:prompt=800,ttft=1; agents:0.3:prompt=8000,cached=0.5,ttft=5",
        ),
        Field("trace", "file of requests: CSV or JSONL, see the page"),
        Field(
            "trace_columns",
            "its columns, such as time=t,prompt=in,output=out, where they are not known, and "
            "unit=s, ms, us, ns or iso where its times do not tell",
        ),
        Field(
            "load_test",
            "of a load test: files, or load:TTFT:TPOT such as 16:0.25:0.011, see the page",
        ),
        Field("ttft_s", "TTFT to keep, time to first token [s]", 1e-4, 100, 1.0),
        Field("tpot_s", "TPOT to keep, time per later token [s]", 1e-5, 2, 0.05),
        Field("quantile", "share of requests that keep them", 0.01, 0.9999, 0.99),
        Field(
            "price_per_hour",
            "price of a device [$/h]; where several are compared, one for each",
            1e-4,
            1e5,
            2.0,
            several=True,
        ),
        Field("spot_share", "share of the devices that are interruptible", 0, 1, 0.0),
        Field("spot_discount", "by which those are cheaper", 0, 0.99, 0.6),
        Field("spare_replicas", "replicas that may fail", 0, 1000, 0, whole=True),
        Field(
            "token_budget",
            "tokens in a step, at most; found where it is not given",
            1,
            1e6,
            whole=True,
        ),
        Field(
            "batch_limit",
            "sequences in a step, at most; found where it is not given",
            1,
            1024,
            whole=True,
        ),
        Field("requests", "requests to simulate in each fleet", 100, 200_000, 4000, whole=True),
        Field("seed", "seed of the simulation", 0, 2**32, 0, whole=True),
    )
}
GIVEN, LIKE = "given", "H100"  # a device by its numbers, and whose links and kernels it has
SHEET = ("peak_tflops", "bandwidth_gb_per_s", "memory_gib")  # instead of `device`
MEANS = ("mean_prompt_tokens", "mean_output_tokens", "cached_share")
DRAWN = ("rate_per_s", "arrival_scv", *MEANS, "classes")
OF_CLASS = {  # what a class may say, and the fields that hold for those that do not say it
    "prompt": "mean_prompt_tokens",
    "answer": "mean_output_tokens",
    "cached": "cached_share",
    "ttft": "ttft_s",
    "tpot": "tpot_s",
    "quantile": "quantile",
}
NEEDS = {"trace_columns": "trace", "drafter": "draft_tokens", "spot_discount": "spot_share"}
MOST_CLASSES = 20
MOST_CHOICES = 400  # deployments that one question compares
WIDTHS = tuple(2**power for power in range(11))  # of a refusal's proposal
UNITS = {"%": 0.01, "ms": 1e-3, "k": 1e3, "k/s": 1e3} | dict.fromkeys(
    ("", "s", "/s", "/h", "$"), 1.0
)
PARTS = {"tp": "tensor", "pp": "pipeline", "dp": "attention_data", "ep": "expert"}


def read_value(name: str, given: object) -> float | str:
    """A field's value from text or a number.

    name: of the field. given: as it came. Raises ValueError that names field, rule and value.

    >>> read_value("seed", "32"), read_value("rate_per_s", 0.5)
    (32, 0.5)
    >>> read_value("rate_per_s", "many")
    Traceback (most recent call last):
    ValueError: rate_per_s must be a number from 0.0001 to 100000, got 'many'
    """
    field = _field(name)
    shown = repr(given) if len(repr(given)) <= 60 else f"{repr(given)[:60]}…"
    if not field.high:
        fine = isinstance(given, str) and 0 < len(given) <= 1000
        require(fine, name, "a name of 1 to 1000 characters", shown)
        return str(given)
    if field.several and isinstance(given, str) and "," in given:
        for part in given.split(","):
            read_value(name, part.strip())
        return given
    kind = "a whole number" if field.whole else "a number"
    rule = f"{kind} from {field.span}"
    number = math.nan
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

    >>> meant_number(Field("tpot_s", "TPOT to keep", 1e-5, 2), "50 ms")
    0.05
    """
    digits = r"(\d{1,3}(?:[,_]\d{3})+|\d{1,15})([.,]\d{1,9})?"
    found = re.fullmatch(rf"\s*[p$]?\s*{digits}\s*(\D{{0,4}}?)\s*", text, re.ASCII | re.IGNORECASE)
    if not found or found[3].lower() not in UNITS:
        return math.nan
    number = float(re.sub("[,_]", "", found[1]) + (found[2] or "").replace(",", "."))
    scale = UNITS[found[3].lower()]
    if scale == 1 and number > max(1.0, field.high):
        scale = 1e-3 if field.name in ("ttft_s", "tpot_s") else 0.01 if field.high <= 1 else 1.0
    return float(f"{scale * number:.12g}")


def _field(name: str) -> Field:
    if name not in FIELDS:
        near = difflib.get_close_matches(name, FIELDS, 1)
        hint = f"; did you mean {near[0]}?" if near else f"; fields are {', '.join(FIELDS)}"
        raise ValueError(f"there is no field {name[:60]!r}{hint}")
    return FIELDS[name]


def read_parallelism(text: str) -> dict[str, int]:
    """How a replica is split, from its short form: widths of tensor, pipeline, attention data and
    expert parallelism.

    text: such as "tp4", "tp8ep8" or "dp8 ep8". Raises ValueError otherwise.

    >>> read_parallelism("tp4+pp2")
    {'tensor': 4, 'pipeline': 2, 'attention_data': 1, 'expert': 1}
    """
    found = re.findall(r"(tp|pp|dp|ep)=?(\d{1,4})", text.lower())
    rest = re.sub(r"(tp|pp|dp|ep)=?\d{1,4}|[\s+]", "", text.lower())
    once = len({name for name, _ in found}) == len(found) > 0
    fine = once and not rest and all(int(number) >= 1 for _, number in found)
    require(fine, "parallelism", "auto, or such as tp4, tp8ep8, dp8ep8 or tp4pp2", repr(text[:60]))
    return dict.fromkeys(PARTS.values(), 1) | {PARTS[name]: int(number) for name, number in found}


def read_classes(
    text: str, values: Values | None = None
) -> tuple[tuple[TrafficClass, ...], tuple[Objective, ...]]:
    """Kinds of requests with their objectives, from their short form.

    text: name, share and what differs from the fields: prompt and answer, mean tokens; cached, the
    share of a prompt; ttft and tpot [s]; quantile. values: fields by name; what is not given has
    its default. Raises ValueError that names the class.

    >>> kinds, goals = read_classes("chat:0.7; agents:0.3:prompt=8000,ttft=5")
    >>> kinds[1].mean_prompt_tokens, goals[0].ttft_s, goals[1].ttft_s
    (8000.0, 1.0, 5.0)
    """
    form = "name:share:what differs, such as chat:0.7:prompt=800,ttft=1"
    kinds, goals = [], []
    for part in text.split(";"):
        name, _, rest = part.strip().partition(":")
        share, _, differs = rest.partition(":")
        require(bool(name and share), "classes", form, repr(part.strip()[:60]))
        told: dict[str, Any] = {
            key: (values or {}).get(key, FIELDS[key].default) for key in OF_CLASS.values()
        }
        words = [word.strip() for word in differs.split(",") if word.strip()]
        _require_once("classes", [word.partition("=")[0] for word in words])
        for word in words:
            key, _, given = word.partition("=")
            rule = f"{form}; {name[:40]} may say {', '.join(OF_CLASS)}"
            require(key in OF_CLASS and bool(given), "classes", rule, repr(word[:60]))
            try:
                told[OF_CLASS[key]] = read_value(OF_CLASS[key], given)
            except ValueError as problem:
                raise ValueError(f"classes: {name[:40]}: {problem}") from None
        try:
            number = float(share)
        except ValueError:
            number = math.nan
        require(0 < number <= 1, f"classes: the share of {name[:40]}", "in (0, 1]", repr(share))
        kinds.append(TrafficClass(name, number, *(float(told[key]) for key in MEANS)))
        goals.append(Objective(*(float(told[key]) for key in ("ttft_s", "tpot_s", "quantile"))))
    names = [kind.name for kind in kinds]
    _require_once("classes", names)
    require("one_more" not in names, "classes", "of other names than a record has", "'one_more'")
    require(len(kinds) <= MOST_CLASSES, "classes", f"at most {MOST_CLASSES}", len(kinds))
    whole = sum(kind.share for kind in kinds)
    fixed = ", ".join(f"{kind.name}:{kind.share / whole:.3g}" for kind in kinds)
    rule = f"of shares that are 1 together ({fixed} would do)"
    require(abs(whole - 1) < 1e-9, "classes", rule, f"{whole:.4g}")
    return tuple(kinds), tuple(goals)


def _require_once(field: str, names: Sequence[object]) -> None:
    """Refuse a name that stands twice."""
    twice = next((name for name in names if names.count(name) > 1), None)
    require(twice is None, field, "of different names", repr(str(twice)[:60]))


def _split(one: Deployment, widths: Mapping[str, int]) -> Deployment:
    """The same over other devices."""
    return replace(
        one,
        tensor=widths["tensor"],
        pipeline=widths["pipeline"],
        attention_data=widths["attention_data"],
        expert=widths["expert"],
    )


def _splits(model: Architecture, system: System) -> list[dict[str, int]]:
    """What is tried where nothing is said: tensor parallelism, with experts spread the same way,
    and attention in parallel over data with the experts over all."""
    widths = [n for n in (1, 2, 4, 8, 16) if n <= max(8, system.domain_devices) and n <= 8]
    one = dict.fromkeys(PARTS.values(), 1)
    splits = [one | {"tensor": n} for n in widths]
    if model.routed_parameters:
        splits += [one | {"tensor": n, "expert": n} for n in widths[1:]]
        splits += [one | {"attention_data": n, "expert": n} for n in widths[1:]]
    return splits


def _possible_splits(base: Deployment) -> list[Deployment]:
    """A deployment in each of the splits that are tried where nothing is said, as far as they can
    be. Raises ValueError with the first refusal where none can."""
    found, refused = [], ""
    for split in _splits(base.architecture, base.system):
        tried = _split(base, split)
        try:
            require_deployment(tried)
        except ValueError as problem:
            refused = refused or str(problem)
        else:
            found.append(tried)
    if not found:
        raise Impossible(refused)
    return found


def read_choices(
    values: Values, load: Callable[[str, str], Workload] | None = None
) -> list[Question]:
    """The deployments that a question compares, one question for each, in a fixed order; with
    `fleets` of two, once more with prompts and answers apart.

    values: by the names of `FIELDS`; what is not given has its default. A device is a name or a
    sheet, traffic a trace or a rate, never both. load: reads a trace by its name and columns; by
    default from a file. Of what is tried by itself (`auto`), only what can be is returned. Raises
    ValueError that names the field, OSError when a trace cannot be read.

    >>> two = {"precision": "bf16,fp8", "device": "H100, B200", "price_per_hour": "2, 4"}
    >>> asked = read_choices({"rate_per_s": "2"} | two)
    >>> len(asked), asked[-1].deployment.system.name, asked[-1].price_per_hour
    (16, 'b200_sxm', 4.0)
    """
    given = {name: read_value(name, value) for name, value in values.items()}
    for whole, parts in (("device", SHEET), ("trace", DRAWN)):
        both = [name for name in parts if name in given]
        if whole in given and both:
            raise ValueError(f"{both[0]} must be left out where {whole} is given, got both")
    missing = [name for name in SHEET if name not in given]
    if 0 < len(missing) < len(SHEET):
        raise ValueError(f"{missing[0]} must be given too: device is otherwise incomplete")
    if "trace" not in given and "rate_per_s" not in given:
        raise ValueError("rate_per_s must be given, or a trace")
    for name, needed in NEEDS.items():
        alone = given.get(name, FIELDS[name].default) != FIELDS[name].default
        if alone and needed not in given:
            raise ValueError(f"{needed} must be given where {name} is, got none")
    told: dict[str, Any] = {name: given.get(name, field.default) for name, field in FIELDS.items()}
    guesses = told["draft_tokens"]
    rule = f"given with draft_tokens, from 1 to {guesses + 1}"
    require(not guesses or "accepted_tokens" in given, "accepted_tokens", rule, "none")
    model, named = _named("model", find_model, told["model"])
    cache = told["cache_precision"].strip().lower()
    known = cache in ("auto", "bf16", "fp8")
    require(known, "cache_precision", "one of auto, bf16, fp8", repr(cache[:60]))
    fleets = told["fleets"].strip().lower()
    require(fleets in ("one", "two"), "fleets", "one or two", repr(fleets[:60]))
    systems = _systems(told, "memory_gib" in given)
    prices = [float(part) for part in str(told["price_per_hour"]).split(",")]
    ones = ",".join(["1"] * len(systems))
    rule = f"one for each of {len(systems)} devices, or {ones} to compare their numbers alone"
    rule = rule if len(systems) > 1 else "one for the device"
    require(len(prices) == len(systems), "price_per_hour", rule, f"{len(prices)} of them")
    saved = 1 - told["spot_share"] * told["spot_discount"]
    traffic: Traffic | Workload
    goals: tuple[Objective, ...] = ()
    if "trace" in given:
        traffic = (load or read_trace)(told["trace"], told["trace_columns"] or "")
        lengths = float(traffic.prompt_tokens.mean()), float(traffic.output_tokens.mean())
    else:
        rate, scv = told["rate_per_s"], told["arrival_scv"]
        traffic = Traffic(rate, scv, *(told[name] for name in MEANS))
        if told["classes"]:
            kinds, goals = read_classes(told["classes"], told)
            traffic = mixed_traffic(rate, kinds, scv)
        lengths = traffic.mean_prompt_tokens, traffic.mean_output_tokens
    base = Deployment(
        model,
        systems[0],
        _named("backend", find_backend, told["backend"]),
        "bf16",
        *lengths,
        1.0,
        draft_tokens=told["draft_tokens"],
        accepted_tokens=told["accepted_tokens"],
        cache_bytes={"auto": 0.0, "bf16": 2.0, "fp8": 1.0}[cache],
        drafter=_drafter(told["drafter"]),
        memory_share=told["memory_share"],
    )
    choices, refused = [], ""
    for system, price in zip(systems, prices, strict=True):
        for precision in _precisions(told["precision"], named, model):
            for split, chosen in _parallelisms(told["parallelism"], model, system):
                one = replace(_split(base, split), system=system, precision=precision)
                try:
                    _require_possible(one, told["memory_share"], told["reserved_gib"] * 2**30)
                except Impossible as problem:
                    refused = refused or str(problem)
                    if chosen:
                        raise
                    continue
                choices.append((one, saved * price))
    if not choices:
        raise Impossible(refused)
    require(len(choices) <= MOST_CHOICES, "the question", "of fewer deployments", len(choices))
    calibration = _calibration(told, choices[0][0], lengths)
    _require_once("device", [system.name for system in systems])
    for field in ("precision", "parallelism"):
        _require_once(field, [compared(word) for word in told[field].split(",")])
    asked = [
        Question(
            one,
            traffic,
            Objective(told["ttft_s"], told["tpot_s"], told["quantile"]),
            price,
            told["memory_share"],
            told["token_budget"],
            told["batch_limit"],
            told["requests"],
            told["seed"],
            told["reserved_gib"] * 2**30,
            told["spare_replicas"],
            goals,
            calibration=calibration,
        )
        for one, price in choices
    ]
    apart = [replace(question, separate=True) for question in asked]
    return asked + (apart if fleets == "two" else [])


def _calibration(
    told: dict[str, Any], tested: Deployment, lengths: tuple[float, float]
) -> Calibration | None:
    """The step model by a load test of the first deployment that is asked for."""
    if not told["load_test"]:
        return None
    for name in ("device", "precision", "parallelism"):
        one = "," not in told[name] or name == "parallelism"
        rule = "one, where load_test says how fast it is"
        require(one, name, rule, repr(told[name][:60]))
    rule = "mtp or ngram where load_test says how fast it is"
    require(isinstance(tested.drafter, str), "drafter", rule, told["drafter"])
    rule = "given where load_test is, that which was tested first, such as tp1 or tp1,tp2"
    require(compared(told["parallelism"]) != "auto", "parallelism", rule, "auto")
    runs = runs_of(read_load_runs(told["load_test"], *lengths), tested)
    return calibrate(runs, was_measured(tested.system.name))


def read_question(values: Values, load: Callable[[str, str], Workload] | None = None) -> Question:
    """The first of the deployments that a question compares: that with the fewest devices.

    values, load: as for read_choices, which says what is raised.

    >>> read_question({"rate_per_s": "2", "precision": "fp8"}).deployment.precision
    'fp8'
    """
    return read_choices(values, load)[0]


def _require_possible(one: Deployment, memory_share: float, reserved_bytes: float) -> None:
    """Refuse in the words of the fields, and propose a split that is not refused in turn."""
    usable = memory_share * one.system.memory_bytes - reserved_bytes
    spread = (replace(one, tensor=n, pipeline=1, attention_data=1) for n in WIDTHS)
    enough = next((wide.tensor for wide in spread if weight_bytes(wide) < usable), None)
    would = f"tp{enough}" if enough else "no split"
    try:
        require_deployment(one)
    except ValueError as problem:
        text = str(problem)
        words = {
            "input_tokens + output_tokens": "mean_prompt_tokens and mean_output_tokens together",
            "input_tokens": "mean_prompt_tokens",
            "output_tokens": "mean_output_tokens",
            **dict.fromkeys(("tensor", "pipeline", "attention_data", "expert", "weights"), ""),
        }
        for name, told in words.items():
            if text.startswith(f"{name} "):
                text = told + text[len(name) :] if told else f"parallelism: {text}"
        text = re.sub(r"\(\d+ devices would do", f"({would} would do", text)
        raise type(problem)(text) from None
    held = weight_bytes(one)
    rule = (
        f"below the {max(0.0, usable) / 1e9:.1f} GB that memory_share and reserved_gib leave of "
        f"{one.system.name} ({would} would do)"
    )
    possible(held < usable, "parallelism: weights", rule, f"{held / 1e9:.1f} GB a device")


def _named(field: str, find: Callable[[str], Any], name: str) -> Any:
    """A name looked up; a refusal begins with the field."""
    try:
        return find(name)
    except ValueError as problem:
        text = str(problem)
        shown = f"{name[:60]}…" if len(name) > 60 else name
        text = text.replace(repr(name), repr(shown))
        if field == "device":
            text += f"; or leave it out and give {', '.join(SHEET)}"
        if field == "drafter":
            text += f"; or {' or '.join(DRAFTERS)}"
        raise ValueError(text if text.startswith(field) else f"{field}: {text}") from None


def _drafter(text: str) -> Architecture | str:
    """What guesses: one of the words, or a model in the precision that its name tells."""
    word = text.strip().lower()
    if word in DRAFTERS:
        return word
    found: tuple[Architecture, str] = _named("drafter", find_model, text)
    model, named = found
    return replace(model, published=named) if named else model


def _systems(told: dict[str, Any], sheet: bool) -> list[System]:
    if not sheet:
        return [_named("device", find_system, name) for name in told["device"].split(",")]
    flops = 1e12 * told["peak_tflops"]
    like = find_system(LIKE)
    bandwidth, memory = 1e9 * told["bandwidth_gb_per_s"], told["memory_gib"] * 2**30
    return [
        replace(
            like,
            name=GIVEN,
            memory_bytes=memory,
            bandwidth_bytes_per_s=bandwidth,
            bf16_flops_per_s=flops,
            fp8_flops_per_s=flops,
            fp4_flops_per_s=flops,
        )
    ]


def _precisions(text: str, named: str, model: Architecture) -> list[str]:
    words = text.split(",")
    return [
        _named("precision", lambda _: named or own_precision(model), word)
        if compared(word) == "auto"
        else _named("precision", find_precision, word)
        for word in words
    ]


def _parallelisms(
    text: str, model: Architecture, system: System
) -> list[tuple[dict[str, int], bool]]:
    """Splits, and whether each was asked for."""
    if compared(text) == "auto":
        return [(split, False) for split in _splits(model, system)]
    return [(read_parallelism(part), True) for part in text.split(",")]


def read_trace(path: str, columns: str = "") -> Workload:
    """A file of requests as a workload. columns: as `trace_columns`. Raises ValueError with file,
    row and column; OSError.

    >>> read_trace("no such file")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'no such file'
    """
    text = read_text(path)
    try:
        return read_requests(text, columns)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_grid(text: str, kind: str) -> list[dict[str, object]]:
    """Questions of a grid, as named values, in order.

    text: of the file. kind: "json", an object whose values may be lists, of which all combinations
    are taken, the last list changing fastest; or "csv", a header of fields and one question a row,
    empty cells left out. Raises ValueError that names line, row, column or entry.

    >>> read_grid('{"rate_per_s": [1, 2], "seed": 7}', "json")
    [{'rate_per_s': 1, 'seed': 7}, {'rate_per_s': 2, 'seed': 7}]
    >>> read_grid("rate_per_s,model\\n3,\\n", "csv")
    [{'rate_per_s': '3'}]
    """
    require(kind in ("json", "csv"), "kind", "json or csv", kind)
    return _json_grid(text) if kind == "json" else _csv_grid(text)


def _json_grid(text: str) -> list[dict[str, object]]:
    found = read_json(text)
    flat = isinstance(found, dict)
    require(flat, "the file", "one JSON object of fields", type(found).__name__)
    rows: list[dict[str, object]] = [{}]
    for name, value in found.items():
        choices = value if isinstance(value, list) else [value]
        require(len(choices) > 0, name, "a value or a list of some", "an empty list")
        for place, choice in enumerate(choices, start=1):
            try:
                read_value(name, choice)
            except ValueError as error:
                where = f"entry {place} of {name}: " if isinstance(value, list) else ""
                raise ValueError(f"{where}{error}") from error
        require(len(rows) * len(choices) <= MOST_QUESTIONS, "the grid", "smaller", len(rows))
        rows = [row | {name: choice} for row in rows for choice in choices]
    return rows


def _csv_grid(text: str) -> list[dict[str, object]]:
    lines = read_table(text, "the file", MOST_QUESTIONS)
    require(len(lines) > 1, "the file", "a header and at least one row", f"{len(lines)} rows")
    header = lines[0]
    for name in header:
        try:
            _field(name)
        except ValueError as error:
            raise ValueError(f"row 1: {error}") from error
    rows: list[dict[str, object]] = []
    for number, line in enumerate(lines[1:], start=2):
        require(len(line) == len(header), f"row {number}", f"{len(header)} fields long", line)
        row: dict[str, object] = {}
        for name, cell in zip(header, line, strict=True):
            if cell:
                try:
                    read_value(name, cell)
                except ValueError as error:
                    raise ValueError(f"row {number}, column {error}") from error
                row[name] = cell
        rows.append(row)
    return rows


def check_every_source_reads_alike() -> None:
    """The same question from text, numbers, JSON and CSV is the same.

    Source: comparison of deployments, traffic and objectives.
    """
    text = {"rate_per_s": "3", "precision": "fp8", "device": "H200", "memory_gib": ""}
    row = read_grid("rate_per_s,precision,device,memory_gib\n3,fp8,H200,\n", "csv")[0]
    numbers = {"rate_per_s": 3, "precision": "fp8", "device": "H200"}
    single = read_grid('{"rate_per_s": 3.0, "precision": "fp8", "device": "H200"}', "json")[0]
    wanted = read_question({name: value for name, value in text.items() if value})
    for label, values in (("CSV", row), ("numbers", numbers), ("JSON", single)):
        got = read_question(values)
        same = (got.deployment, got.traffic, got.objective, got.seed) == (
            wanted.deployment,
            wanted.traffic,
            wanted.objective,
            wanted.seed,
        )
        checks.equal(label, same, True)


def check_defaults_are_in_range() -> None:
    """Every default is a value that the field itself would accept.

    Source: `read_value` on each default; the dataclass of the planner for what both define.
    """
    for name, field in FIELDS.items():
        if field.default is not None:
            checks.equal(name, read_value(name, str(field.default)), field.default)
    told = read_question({"rate_per_s": 1})
    plain = Question(told.deployment, told.traffic, told.objective)
    for name in ("price_per_hour", "memory_share", "token_budget", "batch_limit", "reserved_bytes"):
        checks.equal(f"{name} of the planner", getattr(told, name), getattr(plain, name))


def check_names_are_found() -> None:
    """Names that people type give the shape that its makers published.

    Source: parameter counts in the names of the models, within 9%; data sheets' memory.
    """
    for name, billions in (
        ("Llama-3.1-8B", 8),
        ("meta-llama/Llama-3.3-70B-Instruct", 70),
        ("Qwen3-32B", 32),
        ("DeepSeek-R1", 671),
        ("gpt-oss-120b", 120),
    ):
        values = {"rate_per_s": 1, "model": name, "device": "B200"}
        got = read_question(values).deployment.architecture.parameters / 1e9
        checks.close(f"{name} [10⁹]", got, billions, rtol=0.09, kind="published")
    for name, gigabytes in (("B200", 192), ("H100", 86), ("MI300X", 192)):
        got = read_question({"rate_per_s": 1, "device": name}).deployment.system.memory_bytes / 1e9
        checks.close(f"{name} [GB]", got, gigabytes, rtol=0.02, kind="published")


def check_grid_is_a_product() -> None:
    """Lists of 2 and 3 values make 6 questions, the last list changing fastest.

    Source: counting.
    """
    rows = read_grid('{"rate_per_s": [1, 2], "precision": ["bf16", "fp8", "int4"]}', "json")
    pairs = [(row["rate_per_s"], row["precision"]) for row in rows]
    expected = [(rate, name) for rate in (1, 2) for name in ("bf16", "fp8", "int4")]
    checks.equal("pairs", pairs, expected)


def check_bad_input_is_refused() -> None:
    """Every wrong input is an error that names field, row and column, or entry."""
    for label, values, match in (
        ("typing error", {"rate_per_sec": 1}, "did you mean rate_per_s?"),
        ("text", {"rate_per_s": "fast"}, "rate_per_s must be a number from 0.0001 to 100000"),
        ("infinity", {"rate_per_s": "1e999"}, "rate_per_s must be a number"),
        ("half a seed", {"rate_per_s": 1, "seed": 1.5}, "seed must be a whole number"),
        ("no device", {"rate_per_s": 1, "device": "H10"}, "nearest: h100_sxm"),
        ("no model", {"rate_per_s": 1, "model": "Lama-3.1-8B"}, "nearest: "),
        ("milliseconds", {"rate_per_s": 1, "tpot_s": 50}, "did you mean 0.05?"),
        ("a unit", {"rate_per_s": "4k/s"}, "did you mean 4000?"),
        ("percent", {"rate_per_s": 1, "quantile": "99%"}, "did you mean 0.99?"),
        ("two devices", {"device": "H100", "memory_gib": 2}, "memory_gib must be left out"),
        ("half a device", {"rate_per_s": 1, "memory_gib": 2}, "peak_tflops must be given too"),
        ("no traffic", {}, "rate_per_s must be given, or a trace"),
        (
            "no prices",
            {"rate_per_s": 1, "device": "H100,H200"},
            "price_per_hour must be one for each",
        ),
        ("split", {"rate_per_s": 1, "parallelism": "tp3"}, "parallelism: tensor must be a divisor"),
        ("long", {"rate_per_s": 1, "mean_prompt_tokens": 2e5}, "the context of meta-llama"),
        (
            "does not fit",
            {"rate_per_s": 1, "model": "Llama-3.1-70B", "parallelism": "tp1"},
            "tp2 would do at bf16",
        ),
    ):
        checks.raises(label, read_choices, values, match=match)
    for label, text, kind, match in (
        ("JSON", '{"rate_per_s": }', "json", "line 1, column"),
        ("list", "[1]", "json", "the file must be one JSON object of fields, got list"),
        ("twice", '{"seed": 1, "seed": 2}', "json", "'seed' must be given once"),
        ("entry", '{"rate_per_s": [1, "x"]}', "json", "entry 2 of rate_per_s: rate_per_s must"),
        ("no entry", '{"rate_per_s": []}', "json", "rate_per_s must be a value or a list"),
        ("cell", "rate_per_s,seed\n1,0\n2,x\n", "csv", "row 3, column seed must be a whole"),
        ("column", "rate_per_s,sede\n1,0\n", "csv", "row 1: there is no field 'sede'"),
        ("short", "rate_per_s,seed\n1\n", "csv", "row 2 must be 2 fields long"),
        ("empty", "", "csv", "the file must be a header and at least one row"),
    ):
        checks.raises(label, read_grid, text, kind, match=match)
