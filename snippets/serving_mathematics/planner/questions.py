"""One table of fields for the command line, JSON and CSV files and the form in the browser.

Whatever a value comes from, it is read by the same rule, and a refusal names the field, its rule
and what was given; for files also the row and column, or the entry.

Assumes: nothing about the input.

Source: RFC 8259 for JSON, where the standard library is more lenient (repeated names, NaN);
RFC 4180 for CSV.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from serving_mathematics import checks
from serving_mathematics.capacity.arrival_trace import load_trace
from serving_mathematics.optimization.continuous_batching import Workload
from serving_mathematics.planner.capacity_planner import Objective, Question
from serving_mathematics.planner.presets import Device, Model, devices, models
from serving_mathematics.planner.traffic import Traffic, traced_requests
from serving_mathematics.require import require

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
    allowed: tuple[float, ...] = ()

    @property
    def span(self) -> str:
        """What a number may be, in words."""
        if self.allowed:
            return " or ".join(f"{value:g}" for value in self.allowed)
        return f"{self.low:.10g} to {self.high:.10g}"


FIELDS = {
    field.name: field
    for field in (
        Field("model", "model, a preset", default="Llama-3-8B"),
        Field("parameters_billion", "parameters of another model [10⁹]", 0.001, 10_000),
        Field("layers", "layers of another model", 1, 1000, whole=True),
        Field("kv_heads", "heads of keys and values in a layer", 1, 1000, whole=True),
        Field("head_dim", "numbers in a head", 1, 10_000, whole=True),
        Field("weight_bits", "bits of a weight", 4, 16, 16, allowed=(16, 8, 4)),
        Field("cache_bits", "bits of a number in the KV cache", 8, 16, 16, allowed=(16, 8)),
        Field("device", "device, a preset", default="A100-80GB"),
        Field("peak_tflops", "peak of another device, 16 bits, dense [10¹² FLOP/s]", 0.1, 1e6),
        Field("bandwidth_gb_per_s", "memory bandwidth of another device [10⁹ B/s]", 1, 1e6),
        Field("memory_gib", "memory of another device [2³⁰ B]", 0.1, 1e5),
        Field("devices", "devices in a replica", 1, 1024, 1, whole=True),
        Field("efficiency", "share of both peaks that is reached", 0.01, 1, 0.7),
        Field("memory_share", "share of the memory that the engine may use", 0.01, 1, 0.9),
        Field("reserved_gib", "of a device for activations and libraries [2³⁰ B]", 0, 1000, 4.0),
        Field("rate_per_s", "requests a second, to the whole fleet", 1e-4, 1e5),
        Field("arrival_scv", "burstiness: squared CV of the gaps, 1 is Poisson", 0, 100, 1),
        Field("mean_prompt_tokens", "mean tokens of a prompt", 1, 1e6, 1000),
        Field("mean_output_tokens", "mean tokens of an answer", 1, 1e5, 250),
        Field("trace", "CSV file with TIMESTAMP, ContextTokens, GeneratedTokens"),
        Field("ttft_s", "TTFT to keep, time to first token [s]", 1e-4, 1e5, 1.0),
        Field("tpot_s", "TPOT to keep, time per later token [s]", 1e-5, 1e3, 0.05),
        Field("quantile", "share of requests that keep them", 0.01, 0.9999, 0.99),
        Field("price_per_hour", "price of a device [$/h]", 1e-4, 1e5, 2.0),
        Field("token_budget", "tokens in a step, at most", 1, 1e6, 512, whole=True),
        Field("batch_limit", "sequences in a step, at most", 1, 10_000, 256, whole=True),
        Field("requests", "requests to simulate in each fleet", 100, 200_000, 8000, whole=True),
        Field("seed", "seed of the simulation", 0, 2**32, 0, whole=True),
    )
}
SHAPE = ("parameters_billion", "layers", "kv_heads", "head_dim")  # instead of `model`
SHEET = ("peak_tflops", "bandwidth_gb_per_s", "memory_gib")  # instead of `device`
DRAWN = ("rate_per_s", "arrival_scv", "mean_prompt_tokens", "mean_output_tokens")  # or a trace


def read_value(name: str, given: object) -> float | str:
    """A field's value from text or a number.

    name: of the field. given: as it came. Raises ValueError that names field, rule and value.

    >>> read_value("layers", "32"), read_value("rate_per_s", 0.5)
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
    kind = "a whole number" if field.whole else "a number"
    rule = field.span if field.allowed else f"{kind} from {field.span}"
    number = math.nan
    if isinstance(given, str | int | float) and not isinstance(given, bool):
        plain = not isinstance(given, str) or (given.isascii() and "_" not in given)
        try:
            number = float(given) if plain else math.nan
        except (ValueError, OverflowError):
            number = math.nan
    fine = field.low <= number <= field.high and (not field.whole or number % 1 == 0)
    require(fine and number in (field.allowed or (number,)), name, rule, shown)
    return int(number) if field.whole or field.allowed else number


def _field(name: str) -> Field:
    if name not in FIELDS:
        near = difflib.get_close_matches(name, FIELDS, 1)
        hint = f"; did you mean {near[0]}?" if near else f"; fields are {', '.join(FIELDS)}"
        raise ValueError(f"there is no field {name[:60]!r}{hint}")
    return FIELDS[name]


def read_question(values: Values, load: Callable[[str], Workload] | None = None) -> Question:
    """A question from named values; what is not given has its default.

    values: by the names of `FIELDS`. A model is a preset or a shape, a device a preset or a sheet,
    traffic a trace or a rate, never both. load: reads a trace by its name; by default from a file.
    Raises ValueError that names the field, OSError when a trace cannot be read.

    >>> read_question({"rate_per_s": "2", "weight_bits": 8}).model.weight_bits
    8
    """
    given = {name: read_value(name, value) for name, value in values.items()}
    for whole, parts in (("model", SHAPE), ("device", SHEET), ("trace", DRAWN)):
        both = [name for name in parts if name in given]
        if whole in given and both:
            raise ValueError(f"{both[0]} must be left out where {whole} is given, got both")
    for whole, parts in (("model", SHAPE), ("device", SHEET)):
        missing = [name for name in parts if name not in given]
        if 0 < len(missing) < len(parts):
            raise ValueError(f"{missing[0]} must be given too: {whole} is otherwise incomplete")
    if "trace" not in given and "rate_per_s" not in given:
        raise ValueError("rate_per_s must be given, or a trace")
    told: dict[str, Any] = {name: given.get(name, field.default) for name, field in FIELDS.items()}
    bits = {"weight_bits": told["weight_bits"], "cache_bits": told["cache_bits"]}
    if "layers" in given:
        size = 1e9 * told["parameters_billion"]
        model = Model("given", size, told["layers"], told["kv_heads"], told["head_dim"], **bits)
    else:
        known = _preset("model", told["model"], models())
        model = Model(
            known.name, known.parameters, known.layers, known.kv_heads, known.head_dim, **bits
        )
    if "memory_gib" in given:
        memory = told["memory_gib"] * 2**30
        peak, bandwidth = 1e12 * told["peak_tflops"], 1e9 * told["bandwidth_gb_per_s"]
        device = Device("given", peak, bandwidth, memory)
    else:
        device = _preset("device", told["device"], devices())
    budget = told["token_budget"]
    if "batch_limit" not in given:
        told["batch_limit"] = min(told["batch_limit"], budget)
    rule = f"at most token_budget = {budget}"
    require(told["batch_limit"] <= budget, "batch_limit", rule, told["batch_limit"])
    traffic: Traffic | Workload
    if "trace" in given:
        traffic = (load or read_trace)(told["trace"])
    else:
        traffic = Traffic(*(told[name] for name in DRAWN))
    return Question(
        model,
        device,
        traffic,
        Objective(told["ttft_s"], told["tpot_s"], told["quantile"]),
        told["price_per_hour"],
        told["devices"],
        told["efficiency"],
        told["memory_share"],
        budget,
        told["batch_limit"],
        told["requests"],
        told["seed"],
        told["reserved_gib"] * 2**30,
    )


def _preset(field: str, name: str, known: Mapping[str, Any]) -> Any:
    if name not in known:
        near = difflib.get_close_matches(name, known, 1, 0.4)
        hint = f" (did you mean {near[0]}?)" if near else ""
        rule = f"one of {', '.join(known)}{hint}"
        raise ValueError(f"{field} must be {rule}, got {name[:60]!r}")
    return known[name]


def read_trace(path: str) -> Workload:
    """A trace file as a workload. Raises ValueError with file, row and column; OSError.

    >>> read_trace("no such file")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'no such file'
    """
    trace = load_trace(path)
    try:
        return traced_requests(trace)
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
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"{twice[0][:60]!r} must be given once, got it twice")
        return dict(pairs)

    try:
        found = json.loads(text.removeprefix("\ufeff"), object_pairs_hook=once, parse_int=_integer)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"{where} must be JSON, got: {error.msg}") from error
    except RecursionError as error:
        raise ValueError("the file must be one flat object, got one nested without end") from error
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


def _integer(digits: str) -> int | str:
    """A number of JSON; one that is too long to be converted stays text, which no field takes."""
    return int(digits) if len(digits) <= 1000 else digits


def _csv_grid(text: str) -> list[dict[str, object]]:
    try:
        lines = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True))
    except csv.Error as error:
        raise ValueError(f"the file must be comma-separated values, got: {error}") from error
    while lines and not lines[-1]:
        lines.pop()
    require(len(lines) > 1, "the file", "a header and at least one row", f"{len(lines)} rows")
    require(len(lines) <= MOST_QUESTIONS, "the file", "shorter", f"{len(lines)} rows")
    header = lines[0]
    for name in header:
        try:
            _field(name)
        except ValueError as error:
            raise ValueError(f"row 1: {error}") from error
        require(header.count(name) == 1, "row 1", f"a header with one column {name}", header)
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

    Source: comparison of models, devices, traffic and objectives.
    """
    text = {"rate_per_s": "3", "weight_bits": "8", "device": "H100-80GB", "layers": ""}
    row = read_grid("rate_per_s,weight_bits,device,layers\n3,8,H100-80GB,\n", "csv")[0]
    numbers = {"rate_per_s": 3, "weight_bits": 8, "device": "H100-80GB"}
    single = read_grid('{"rate_per_s": 3.0, "weight_bits": 8, "device": "H100-80GB"}', "json")[0]
    wanted = read_question({name: value for name, value in text.items() if value})
    for label, values in (("CSV", row), ("numbers", numbers), ("JSON", single)):
        got = read_question(values)
        same = (got.model, got.device, got.traffic, got.objective, got.seed) == (
            wanted.model,
            wanted.device,
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
    plain = Question(told.model, told.device, told.traffic, told.objective)
    for name in ("price_per_hour", "efficiency", "memory_share", "token_budget", "batch_limit"):
        checks.equal(f"{name} of the planner", getattr(told, name), getattr(plain, name))


def check_grid_is_a_product() -> None:
    """Lists of 2 and 3 values make 6 questions, the last list changing fastest.

    Source: counting.
    """
    rows = read_grid('{"rate_per_s": [1, 2], "weight_bits": [16, 8, 4]}', "json")
    pairs = [(row["rate_per_s"], row["weight_bits"]) for row in rows]
    expected = [(1, 16), (1, 8), (1, 4), (2, 16), (2, 8), (2, 4)]
    checks.equal("pairs", pairs, expected)


def check_bad_input_is_refused() -> None:
    """Every wrong input is an error that names field, row and column, or entry."""
    for label, values, match in (
        ("typing error", {"rate_per_sec": 1}, "did you mean rate_per_s?"),
        ("text", {"rate_per_s": "fast"}, "rate_per_s must be a number from 0.0001 to 100000"),
        ("infinity", {"rate_per_s": "1e999"}, "rate_per_s must be a number"),
        ("half a layer", {"rate_per_s": 1, "layers": 1.5}, "layers must be a whole number"),
        ("no preset", {"rate_per_s": 1, "device": "A100"}, "did you mean A100-80GB?"),
        ("two models", {"model": "Llama-3-8B", "layers": 2}, "layers must be left out"),
        ("half a model", {"rate_per_s": 1, "layers": 2}, "parameters_billion must be given too"),
        ("no traffic", {}, "rate_per_s must be given, or a trace"),
        ("budget", {"rate_per_s": 1, "token_budget": 8, "batch_limit": 9}, "batch_limit must be"),
    ):
        checks.raises(label, read_question, values, match=match)
    for label, text, kind, match in (
        ("JSON", '{"rate_per_s": 1,}', "json", "line 1, column"),
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
