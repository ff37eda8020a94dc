"""What is asked, from named values, as the deployments that are compared.

Assumes: nothing about the input: every value is read by the rule of its field.

Source: the table of fields, and the constructors of what is asked.
"""

# In one piece: fields that are read in one order, because the rules of one need what was read
# before it.

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.hardware.architectures import Architecture
from serving_mathematics.core.hardware.benchmark_loops import loop_latencies
from serving_mathematics.core.hardware.catalogue import (
    compared,
    find_backend,
    find_model,
    find_system,
    was_measured,
)
from serving_mathematics.core.hardware.deployments import Deployment, Impossible
from serving_mathematics.core.hardware.fronts import (
    Front,
    find_front,
    front_constants,
    require_agreement,
)
from serving_mathematics.core.hardware.step_time import count_work
from serving_mathematics.machine.predictions.own_runs import Calibration, calibrate
from serving_mathematics.planner.questions.asked_names import (
    _checkpoint,
    _drafter,
    _named,
    _others,
    _precisions,
    _systems,
)
from serving_mathematics.planner.questions.fields import (
    AUTO,
    BEHIND,
    DRAWN,
    FIELDS,
    LENGTHS,
    MEANS,
    SHEET,
    Values,
    read_value,
)
from serving_mathematics.planner.questions.load_tests import read_load_runs, runs_of
from serving_mathematics.planner.questions.objectives import METRICS, Promise, promised
from serving_mathematics.planner.questions.question import Question
from serving_mathematics.planner.questions.routed_requests import (
    AGENTS_KIND,
    BY_LOAD,
    BY_PREFIX,
    LOOKING,
    SHARING,
    Below,
    Routing,
    _as_workload,
    _kinds_of,
    mean_lengths,
    read_routers,
    read_shared,
)
from serving_mathematics.planner.questions.splits import _parallelisms, _place, _require_possible
from serving_mathematics.planner.questions.trace_formats import read_requests
from serving_mathematics.planner.questions.traffic import (
    KINDS,
    Traffic,
    TrafficClass,
    mixed_traffic,
)
from serving_mathematics.support import checks
from serving_mathematics.support.files import read_text
from serving_mathematics.support.require import require

OF_CLASS = {  # what a class may say, and the fields that hold for those that do not say it
    "prompt": "mean_prompt_tokens",
    "answer": "mean_output_tokens",
    "cached": "cached_share",
    "like": "like",
    **{metric.name: metric.field for metric in METRICS.values()},
    "quantile": "quantile",
}
ROLES = ("prompt_device", "answer_device")  # of separate fleets
NEEDS = {
    "trace_columns": "trace",
    "drafter": "draft_tokens",
    "spot_discount": "spot_share",
    "power_w": "memory_gib",
    "api_input_price": "api_output_price",
    "api_output_price": "api_input_price",
}
AS_THEY_ARE = (  # fields that a question has under the same names
    *("memory_share", "token_budget", "batch_limit", "requests", "seed", "spare_replicas"),
    *("power_w", "grams_per_kwh", "gpus"),
)
APART = {  # what a fleet behind routers does not know
    "cached_share": "caches say what they find",
    **dict.fromkeys(("fleets", *ROLES), "one fleet is simulated"),
}
MOST_CLASSES = 20
MOST_CHOICES = 400  # deployments that one question compares
SESSIONS = "session, t_s, prompt_tokens, output_tokens, reusable_tokens, think_s"


def read_classes(
    text: str, values: Values | None = None
) -> tuple[tuple[TrafficClass, ...], tuple[Promise, ...]]:
    """Kinds of requests with what is promised to them, from their short form.

    text: name, share and what differs from the fields: prompt and answer, mean tokens; cached, the
    share of a prompt; ttft, tpot and e2e [s]; quantile or goodput. values: fields by name; what is
    not given has its default. Raises ValueError that names the class.

    >>> kinds, goals = read_classes("chat:0.7; agents:0.3:prompt=8000,ttft=5")
    >>> kinds[1].mean_prompt_tokens, goals[0][0].limit, goals[1][0].limit
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
        before = dict(told)
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
        require(
            0 < number <= 1, f"classes: the share of {name[:40]}", "in (0, 1]", repr(share[:60])
        )
        like = _choice("like", told["like"], f"classes: {name[:40]}: ")
        other = {key: told[key] for key in LENGTHS if told[key] != before[key]}
        _require_own_lengths(like, other, f"classes: {name[:40]}: ")
        prompt, output, cached = (float(told[key]) for key in MEANS)
        kinds.append(TrafficClass(name, number, prompt, output, cached, like))
        try:
            goals.append(read_promise(told))
        except ValueError as problem:
            raise ValueError(f"classes: {name[:40]}: {problem}") from None
    names = [kind.name for kind in kinds]
    _require_once("classes", names)
    require("one_more" not in names, "classes", "of other names than a record has", "'one_more'")
    require(len(kinds) <= MOST_CLASSES, "classes", f"at most {MOST_CLASSES}", len(kinds))
    whole = sum(kind.share for kind in kinds)
    fixed = ", ".join(f"{kind.name}:{kind.share / whole:.3g}" for kind in kinds)
    rule = f"of shares that are 1 together ({fixed} would do)"
    require(abs(whole - 1) < 1e-9, "classes", rule, f"{whole:.10g}")
    return tuple(kinds), tuple(goals)


def _choice(name: str, given: object, where: str = "") -> str:
    """One of the few words that a field takes."""
    word, choices = str(given).strip().lower(), FIELDS[name].choices
    rule = " or ".join(choices) if len(choices) == 2 else f"one of {', '.join(choices)}"
    require(word in choices, f"{where}{name}", rule, repr(word[:60]))
    return word


def read_promise(values: Values) -> Promise:
    """What is promised to one kind of requests.

    values: fields by name; what is not given has its default. Raises ValueError where a share is
    given for each limit alone and for all together.

    >>> [goal.text for goal in read_promise({"ttft_s": 2, "e2e_s": 9})]
    ['a TTFT of 2 s', 'a TPOT of 50 ms', 'an E2E latency of 9 s']
    """
    names = ["quantile", *(metric.field for metric in METRICS.values())]
    lacking = [name for name in names if name not in FIELDS]
    require(not lacking, "METRICS", "of metrics whose fields are rows of FIELDS", lacking)
    told: dict[str, Any] = {name: values.get(name, FIELDS[name].default) for name in names}
    alone = told["quantile"] == FIELDS["quantile"].default
    rule = "left out where goodput says the share that keeps all limits"
    require(told["goodput"] is None or alone, "quantile", rule, told["quantile"])
    return promised(**told)


def _require_once(field: str, names: Sequence[object]) -> None:
    """Refuse a name that stands twice."""
    twice = next((name for name in names if names.count(name) > 1), None)
    require(twice is None, field, "of different names", repr(str(twice)[:60]))


def _all_told(given: dict[str, Any]) -> dict[str, Any]:
    """All fields, of which some are given. Refuses what contradicts another, or lacks one."""
    behind = [name for name, field in FIELDS.items() if field.group == BEHIND]
    if any(given.get(name, FIELDS[name].default) != FIELDS[name].default for name in behind):
        given = {"replicas": AUTO} | given
    for whole, parts in (("device", (*SHEET, "power_w")), ("trace", DRAWN)):
        both = [name for name in parts if name in given]
        if whole == "trace" and "replicas" in given:  # at which its requests come
            both = [name for name in both if name != "rate_per_s"]
        if whole in given and both:
            raise ValueError(f"{both[0]} must be left out where {whole} is given, got both")
    missing = [name for name in SHEET if name not in given]
    if 0 < len(missing) < len(SHEET):
        raise ValueError(f"{missing[0]} must be given too: device is otherwise incomplete")
    if not {"trace", "rate_per_s", "gpus"} & given.keys():
        raise ValueError("rate_per_s must be given, or a trace, or how many GPUs there are (gpus)")
    for name, needed in NEEDS.items():
        alone = given.get(name, FIELDS[name].default) != FIELDS[name].default
        if alone and needed not in given:
            raise ValueError(f"{needed} must be given where {name} is, got none")
    told: dict[str, Any] = {name: given.get(name, field.default) for name, field in FIELDS.items()}
    if told["gpus"] is not None:
        slow = ("fleets",) if "trace" in given else ()  # of which every rate takes seconds
        _require_no_rate(told, ("rate_per_s", *behind[1:], *behind[:1], *ROLES, *slow))
    if told["replicas"] is not None:
        for name, reason in APART.items():
            alone = told[name] == FIELDS[name].default
            require(alone, name, f"left out behind routers: {reason}", told[name])
    guesses = told["draft_tokens"]
    rule = f"given with draft_tokens, from 1 to {guesses + 1}"
    require(not guesses or "accepted_tokens" in given, "accepted_tokens", rule, "none")
    return told


# In one piece: fields in their order, whose rules need those read before.
def read_choices(
    values: Values,
    load: Callable[[str, str], Workload] | None = None,
    shared: Callable[[str, str], Requests] | None = None,
) -> list[Question]:
    """The deployments that a question compares, one question for each, in a fixed order; with
    `fleets` of two, once more with prompts and answers apart.

    values: by the names of `FIELDS`; what is not given has its default. A device is a name or a
    sheet, traffic a trace or a rate, and both only where replicas are given. load: reads a trace by
    its name and columns, and shared one whose prompts say what they share, by the same; by default
    from a file. Of what is tried by itself (`auto`), only what can be is returned. Raises
    ValueError that names the field, OSError when a trace cannot be read.

    >>> two = {"precision": "bf16,fp8", "device": "H100, B200", "price_per_hour": "2, 4"}
    >>> asked = read_choices({"rate_per_s": "2"} | two)
    >>> len(asked), asked[-1].deployment.system.name, asked[-1].price_per_hour
    (16, 'b200_sxm', 4.0)
    """
    given = {name: read_value(name, value) for name, value in values.items()}
    told = _all_told(given)
    model, named = _named("model", find_model, told["model"])
    checkpoint = _checkpoint(told["model"], model)
    cache = _choice("cache_precision", told["cache_precision"])
    unlike = any(told[name] is not None for name in ROLES)
    fleets = _choice("fleets", "two" if unlike else told["fleets"])
    systems = _systems(told, "memory_gib" in given)
    _others(told["other_devices"])
    prices = [float(part) for part in str(told["price_per_hour"]).split(",")]
    ones = ",".join(["1"] * len(systems))
    rule = f"one for each of {len(systems)} devices, or {ones} to compare their numbers alone"
    rule = rule if len(systems) > 1 else "one for the device"
    require(len(prices) == len(systems), "price_per_hour", rule, f"{len(prices)} of them")
    saved = 1 - told["spot_share"] * told["spot_discount"]
    traffic: Traffic | Workload
    goals: tuple[Promise, ...] = ()
    trace: Requests | None = None
    if "trace" in given:
        name, columns = told["trace"], told["trace_columns"] or ""
        trace = (shared or read_shared)(name, columns) if told["replicas"] is not None else None
        traffic = (
            _as_workload(trace) if trace is not None else (load or read_workload)(name, columns)
        )
        lengths = float(traffic.prompt_tokens.mean()), float(traffic.output_tokens.mean())
    else:
        rate, scv = told["rate_per_s"] or 1.0, told["arrival_scv"]  # of gpus it is looked for
        told["like"] = like = _choice("like", told["like"])
        prompt, output, cached = (told[name] for name in MEANS)
        if like != KINDS[0]:
            other = {name: told[name] for name in LENGTHS if told[name] != FIELDS[name].default}
            _require_own_lengths(like, other)
            prompt, output = mean_lengths(like, model.context_tokens)
        traffic = Traffic(rate, scv, prompt, output, cached, like=like)
        if told["classes"]:
            kinds, goals = read_classes(told["classes"], told)
            traffic = mixed_traffic(rate, _like_traces(kinds, told, model), scv)
        lengths = traffic.mean_prompt_tokens, traffic.mean_output_tokens
    routing = None
    if told["replicas"] is not None:
        routing = _asked_routing(told, traffic, trace)
    searched = "any" in map(compared, told["precision"].split(","))
    formats = _precisions(told["precision"], named, model, bool(told["load_test"]))
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
    lacking: list[tuple[Deployment, float, Impossible]] = []  # that were asked for
    for system, price in zip(systems, prices, strict=True):
        for precision in formats:
            for split, chosen in _parallelisms(told["parallelism"], model, system):
                one = replace(base, **split, system=system, precision=precision)
                try:
                    _require_possible(one, told["memory_share"], told["reserved_gib"] * 2**30)
                except Impossible as problem:
                    refused = refused or str(problem)
                    lacking += [(one, saved * price, problem)] * chosen
                    continue
                choices.append((one, saved * price))
    there = {_place(one) for one, _ in choices}
    left = [one for one in lacking if not searched or _place(one[0]) not in there]
    if not choices or (left and (told["gpus"] is not None or routing is not None)):
        raise left[0][2] if left else Impossible(refused)
    require(len(choices) <= MOST_CHOICES, "the question", "of fewer deployments", len(choices))
    if told["gpus"] is not None:
        _require_a_replica(told["gpus"], told["spare_replicas"], [one for one, _ in choices])
    front = _named("front", find_front, told["front"])
    calibration = _calibration(told, choices[0][0], lengths, front if "front" in given else None)
    _require_once("device", [system.name for system in systems])
    for field in ("precision", "parallelism"):
        _require_once(field, [compared(word) for word in told[field].split(",")])
    api = told["api_input_price"]
    asked = [
        Question(
            one,
            traffic,
            read_promise(told),
            price,
            **{name: told[name] for name in AS_THEY_ARE},
            reserved_bytes=told["reserved_gib"] * 2**30,
            class_promises=goals,
            calibration=calibration,
            checkpoint=checkpoint,
            front=front,
            usd_per_kwh=told["price_per_kwh"],
            api_usd=(told["api_input_price"], told["api_output_price"]) if api else None,
            routing=routing,
            priced="price_per_hour" in given,
            spot_saves=1 - saved,
        )
        for one, price in [*choices, *((one, price) for one, price, _ in left)]
    ]
    if unlike:
        return asked + _unlike(asked, told)
    apart = [replace(question, separate=True) for question in asked]
    return asked + (apart if fleets == "two" else [])


def _require_no_rate(told: dict[str, Any], names: Sequence[str]) -> None:
    """Refuse GPUs that are there together with a rate, or with what is asked for a rate only."""
    for name in names:
        default, value = FIELDS[name].default, told[name]
        same = value == default or str(value).strip().lower() == default
        would = "which is what they carry; leave one of both out"
        would = would if name == "rate_per_s" else "give a rate instead"
        shown = f"{value:g}" if isinstance(value, float) else str(value)[:60]
        rule = f"left out where {name} is {shown} ({would})"
        require(same, "gpus", rule, told["gpus"])


def _require_a_replica(gpus: int, spare: int, choices: Sequence[Deployment]) -> None:
    """Refuse fewer GPUs than the smallest replica takes, with those that may fail."""
    least = min(choices, key=lambda one: one.devices)
    need = least.devices * (1 + spare)
    rule = f"at least {need:,}: a replica of {least.architecture.name} takes {least.devices:,}"
    those = "the one" if spare == 1 else f"each of the {spare:,}"
    rule += f", and so does {those} that may fail" if spare else ""
    require(gpus >= need, "gpus", rule, f"{gpus:,}")


def _unlike(asked: Sequence[Question], told: dict[str, Any]) -> list[Question]:
    """Separate fleets of the devices that are asked for, in every pair of splits."""
    there = {one.deployment.system.name for one in asked}
    roles = []
    for name in ROLES:
        mine = there
        if told[name] is not None:
            mine = {_named(name, find_system, told[name]).name}
            rule = "one of those that device lists, with their prices"
            require(mine <= there, name, rule, repr(told[name][:60]))
        roles.append([one for one in asked if one.deployment.system.name in mine])
    pairs = [
        replace(
            answers,
            separate=True,
            prompts=None if prompts is answers else (prompts.deployment, prompts.price_per_hour),
        )
        for prompts in roles[0]
        for answers in roles[1]
        if prompts.deployment.precision == answers.deployment.precision
    ]
    require(len(pairs) <= MOST_CHOICES, "the question", "of fewer pairs of fleets", len(pairs))
    return pairs


def _require_own_lengths(like: str, given: dict[str, Any], where: str = "") -> None:
    """Refuse lengths of requests that are drawn like those of a trace, which has its own."""
    for name, value in given.items() if like != KINDS[0] else ():
        rule = f"left out where like is {like}: its requests are as long as those of a trace"
        require(False, f"{where}{name}", rule, f"{value:g}")


def _like_traces(
    kinds: tuple[TrafficClass, ...], told: dict[str, Any], model: Architecture
) -> tuple[TrafficClass, ...]:
    """Kinds with the mean lengths of what they are like."""
    found = []
    for kind in kinds:
        where = f"classes: {kind.name[:40]}"
        if told["replicas"] is not None:
            rule = "left out behind routers: caches say what they find"
            require(not kind.cached_share, f"{where}: cached", rule, kind.cached_share)
        elif kind.like != KINDS[0]:
            rule = f"left out unless replicas is given ({AUTO} would do)"
            require(False, f"{where}: like", rule, repr(kind.like))
        if kind.like != KINDS[0]:
            means = mean_lengths(kind.like, model.context_tokens)
            kind = replace(kind, mean_prompt_tokens=means[0], mean_output_tokens=means[1])
        found.append(kind)
    return tuple(found)


def _asked_routing(
    told: dict[str, Any], traffic: Traffic | Workload, trace: Requests | None
) -> Routing:
    """A fleet, and what is compared for it. Raises ValueError where routers or host
    memory would look for prefixes that no prompt shares."""
    kinds = () if trace is not None or isinstance(traffic, Workload) else _kinds_of(traffic)
    shares = trace is not None and trace.prefixes is not None
    shares = shares or any(kind.like in SHARING for kind in kinds)
    what = "the trace" if trace is not None else "like"
    rule = "agents or customers" if trace is None else "one with hash_ids or sessions"
    routers = read_routers(told["routers"] or ", ".join(BY_PREFIX if shares else BY_LOAD))
    host = tuple(float(part) for part in str(told["host_memory_gib"]).split(","))
    _require_once("host_memory_gib", host)
    looks = [one.name for one in routers if compared(one.name.partition(":")[0]) in LOOKING]
    below = [
        Below("disk", told["disk_gib"], 1e9 * told["disk_gb_per_s"]),
        Below("store", told["store_gib"], 1e9 * told["store_gb_per_s"], for_all=True),
    ]
    looks += ["host memory"] if any(host) else []
    looks += [one.name for one in below if one.gib]
    if looks and not shares:
        lacks = "none" if trace is None else f"none; a CSV has them by columns {SESSIONS}"
        require(False, what, f"{rule} where {looks[0]} looks for what prompts share", lacks)
    weights = tuple(float(part) for part in str(told["weights"] or "").split(",") if part)
    rule = "left out where all requests are of one kind"
    require(not weights or len(kinds) > 1, "weights", rule, told["weights"])
    rule = f"one for each of {len(kinds)} kinds of requests"
    require(not weights or len(weights) == len(kinds), "weights", rule, f"{len(weights)} of them")
    bursty = told["arrival_scv"] != FIELDS["arrival_scv"].default
    sessions = any(kind.like == AGENTS_KIND for kind in kinds)
    rule = "left out where sessions come: their requests follow each other"
    require(not (bursty and sessions), "arrival_scv", rule, told["arrival_scv"])
    return Routing(
        0 if told["replicas"] == AUTO else told["replicas"],
        routers,
        host,
        1e9 * told["host_link_gb_per_s"],
        weights,
        told["lost_for_s"] or 0.0,
        trace,
        told["rate_per_s"],
        tuple(one for one in below if one.gib),
    )


def _calibration(
    told: dict[str, Any], tested: Deployment, lengths: tuple[float, float], front: Front | None
) -> Calibration | None:
    """The step model by a load test of the first deployment that is asked for, behind a front that
    is named or not."""
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
    known = was_measured(tested.system.name)
    if front is None:
        return calibrate(runs, known)
    if known:  # else it may be the device that takes longer or shorter
        work = count_work([run.deployment for run in runs])
        times = np.array([run.per_token_s for run in runs])
        require_agreement(front, work, times, loop_latencies)
    return replace(calibrate(runs, known, front_constants(front)), front=front.name)


def read_question(values: Values) -> Question:
    """The first of the deployments that a question compares: that with the fewest devices.

    values: as for read_choices, which says what is raised.

    >>> read_question({"rate_per_s": "2", "precision": "fp8"}).deployment.precision
    'fp8'
    """
    return read_choices(values)[0]


def other_choices(
    values: Values, load: Callable[[str, str], Workload] | None = None
) -> list[list[Question]]:
    """The same question on each of the other devices that are looked at, at a price of $1 an hour;
    none where a load test says how fast one device is.

    values, load: as for read_choices, which says what is raised. A device on which nothing can be
    is left out.

    >>> [asked[0].deployment.system.name for asked in other_choices({"rate_per_s": 2})]
    ['h200_sxm', 'b200_sxm']
    """
    given = {name: read_value(name, value) for name, value in values.items()}
    if "load_test" in given:
        return []
    told: dict[str, Any] = {name: field.default for name, field in FIELDS.items()} | given
    asked = {one.name for one in _systems(told, "memory_gib" in given)}
    left = (*SHEET, "power_w", *ROLES)
    kept = {name: value for name, value in given.items() if name not in left}
    found = []
    for system in _others(told["other_devices"]):
        if system.name in asked:
            continue
        asked.add(system.name)
        with contextlib.suppress(Impossible):
            one = {"device": system.name, "price_per_hour": 1, "fleets": "one"}
            found.append(read_choices(kept | one, load))
    return found


def read_workload(path: str | os.PathLike[str], columns: str = "") -> Workload:
    """A file of requests as a workload. columns: as `trace_columns`. Raises ValueError with file,
    row and column; OSError.

    >>> read_workload("no such file")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'no such file'
    """
    text = read_text(path)
    try:
        return read_requests(text, columns)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def check_defaults_are_the_planners() -> None:
    """Where the table of fields and the planner both have a default, it is the same.

    Source: the dataclass of the planner.
    """
    told = read_question({"rate_per_s": 1})
    plain = Question(told.deployment, told.traffic, told.promise)
    for name in ("price_per_hour", "memory_share", "token_budget", "batch_limit", "reserved_bytes"):
        checks.equal(f"{name} of the planner", getattr(told, name), getattr(plain, name))
