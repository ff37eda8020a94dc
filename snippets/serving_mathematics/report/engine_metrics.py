"""An engine's own counters: one scrape of `/metrics`, several, a range query of Prometheus, or a
table of them by the second.

What each series counts is said by `engine_names`. Samples of several engines are added up, but for
the share of the cache, of which the largest counts, and their levels are kept apart too.

Assumes: scrapes in the order in which they are given; a scrape does not say when it was made, so
between two of them only ratios are told, unless each begins with its time in a comment.

Source: Prometheus documentation, text format and HTTP API; LMDeploy 0.18, `metrics/stats.py`, for
what waits; nvidia-smi --help-query-gpu.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving_mathematics.core.hardware.catalogue import compared
from serving_mathematics.machine.predictions.scrapes import (
    _SAMPLE,
    MIDDLES,
    _engine_name,
    _samples,
)
from serving_mathematics.planner.questions.trace_times import _by_calendar
from serving_mathematics.report.engine_names import (
    _LABEL,
    COUNTED_IN,
    ENGINE_LABELS,
    ENGINES,
    NAMES,
    WITHIN,
    _bucket,
    _counters_of,
    _engine_named,
    _engine_of,
    _mixed_guesses,
    _other_engines,
    _reads_as_number,
)
from serving_mathematics.report.evidence import GROWING, FloatArray, Run, Series
from serving_mathematics.support import checks
from serving_mathematics.support.files import read_table
from serving_mathematics.support.require import require

Moments = dict[float, float]  # what a counter was at each
READABLE = (
    "vLLM, SGLang, TensorRT-LLM, TGI, NIM, LMDeploy or llama.cpp (behind a proxy, the engine's own)"
)
HOSTS = ("python_", "process_", "go_", "otel_")  # what tells nothing of whose page it is
TABLE = {  # columns of a table by the second, in compared form
    "running": ("running", "numrunning", "numrequestsrunning"),
    "waiting": ("waiting", "numwaiting", "numrequestswaiting", "queue"),
    "cache": ("kvcachepct", "cache", "kvcacheusage", "kvusage", "kvcacheusageperc", "tokenusage"),
    "power_w": ("powerw", "power", "watts", "powerdraww", "gpupowerw", "powerwatts"),
}
DEVICES = ("index", "gpu", "uuid", "gpuid", "device", "pcibusid")  # of a row, where several report
TIMES = ("t", "time", "timestamp", "seconds", "ts")
REQUESTS = ("ttft", "latency", "prompttokens", "inputtokens")  # a table with these is a log
MADE_AT = re.compile(r"^# (?:time|scraped at) (\d{9,11}(?:\.\d+)?)\s*$", re.MULTILINE)
RAYS = (
    "Ray adds up times by the middles of their buckets, so no mean of a time is read; who was in "
    "time is counted by the buckets"
)
OWN_LEVELS = ("running", "waiting", "cache")  # that are told of each engine too
_STARTED = "process_start_time_seconds"
PERCENT_ABOVE = 1.5  # a share of the cache that is larger is a percentage


def counters(text: str) -> tuple[str, dict[str, float]]:
    """The engine of a scrape, and its counters by the names of `evidence`.

    text: of `/metrics`. Raises ValueError where it is of no engine that is known, or a value is no
    number, or negative.

    >>> counters('vllm:num_requests_waiting{engine="0"} 3\\nvllm:num_requests_waiting 1\\n')
    ('vLLM', {'waiting': 4.0})
    """
    return _scrape_counters(_samples(text))[:2]


def _scrape_counters(
    samples: Sequence[tuple[str, str, float]],
) -> tuple[str, dict[str, float], dict[str, dict[str, Moments]]]:
    """The engine of a scrape, its counters, and the levels of each engine by its labels.

    >>> of = [("vllm:num_requests_running", f'engine="{k}"', k + 3.0) for k in (0, 1)]
    >>> _scrape_counters(of)[2]["1"]
    {'running': {0.0: 4.0}}
    """
    engine = _engine_of([name for name, _, _ in samples])
    names = dict.fromkeys(name for name, _, _ in samples if not name.startswith(HOSTS))
    require(
        engine, "the metrics", f"a scrape of {READABLE}", ", ".join([*names][:3]) or "no sample"
    )
    values: dict[str, Moments] = {}
    engines: dict[str, dict[str, Moments]] = {}
    told = _counters_of([(name, labels) for name, labels, _ in samples])
    for (name, labels, value), of in zip(samples, told, strict=True):
        rows = _own_rows(name, of, [(0.0, value)])
        require(not (of and rows[0][1] < 0), name, "not negative, as counters are", f"{value:g}")
        _add_up(values, engines, of, dict(_LABEL.findall(labels)), rows)
    _percent_as_shares(values, engines)
    found = {counter: own[0.0] for counter, own in values.items()}
    started = [value for name, _, value in samples if name == _STARTED]
    if len(started) == 1:  # of one process
        found["started_s"] = started[0]
    return engine, found, engines


def _own_rows(
    name: str, counters: Sequence[str], rows: Sequence[tuple[float, float]]
) -> list[tuple[float, float]]:
    """Moments and values of a series in the unit of its counters; what waits is not below 0, as
    LMDeploy has it for a moment."""
    least = 0.0 if counters == ["waiting"] else -math.inf
    return [(at, max(value * COUNTED_IN.get(name, 1.0), least)) for at, value in rows]


def _add_up(
    values: dict[str, Moments],
    engines: dict[str, dict[str, Moments]],
    counters: Sequence[str],
    labels: Mapping[str, Any],
    rows: Sequence[tuple[float, float]],
) -> None:
    """Add a series to what its counters were at each moment, of all engines and of its own."""
    of = " ".join(str(labels[x]) for x in ENGINE_LABELS if labels.get(x))
    for counter in counters:
        apart = [engines.setdefault(of, {})] if of and counter in OWN_LEVELS else []
        for own in (one.setdefault(counter, {}) for one in (values, *apart)):
            for at, value in rows:
                before = own.get(at, 0.0)
                own[at] = max(before, value) if counter == "cache" else before + value


def _percent_as_shares(values: Mapping[str, Moments], engines: Mapping[str, Any]) -> None:
    """Bring the cache of all engines, and of each, to shares where it is told in percent."""
    whole = values.get("cache", {})
    if any(value > PERCENT_ABOVE for value in whole.values()):
        for own in (whole, *(one["cache"] for one in engines.values() if "cache" in one)):
            own.update({at: value / 100 for at, value in own.items()})


def _looks_scraped(text: str) -> bool:
    """Whether a text is in the format of Prometheus."""
    lines = [line for line in text[:20_000].splitlines()[:50] if line.strip()]
    told = [_SAMPLE.match(line) for line in lines if not line.startswith("#")][:5]
    return all(told) and any(sample and _reads_as_number(sample[3]) for sample in told)


def _scrapes_of(text: str) -> list[str]:
    """The scrapes of a text, of which another begins, with the comments before it, where a sample
    comes again, as a loop appends them to a file.

    >>> _scrapes_of("# time 1\\na 1\\nb 2\\n# time 2\\na 3\\nb 5")
    ['# time 1\\na 1\\nb 2\\n', '# time 2\\na 3\\nb 5']
    """
    begins, seen = [0], set[str]()
    place, block = 0, -1  # of this line, and of the comments right before it
    for line in text.split("\n"):
        if not line.strip() or line[0] == "#":
            block = place if block < 0 else block
        else:
            name = line[: line.rfind("}")] if "}" in line else line.partition(" ")[0]
            if name in seen:
                begins.append(place if block < 0 else block)
                seen.clear()
            seen.add(name)
            block = -1
        place += len(line) + 1
    return [text[a:b] for a, b in zip(begins, [*begins[1:], len(text)], strict=True)]


def _within(text: str, engine: str) -> dict[str, float]:
    """How many requests had their first token, or their mean time per later one, within the bounds
    of the histograms of a scrape, so far: those of its engine, and of SGLang's streamed ones.

    >>> _within('vllm:time_to_first_token_seconds_bucket{le="0.5",model_name="m"} 7.0', "vLLM")
    {'ttft within 0.5': 7.0}
    """
    found: dict[str, float] = {}
    for line in text.split("\n"):
        sample = _SAMPLE.match(line)
        if sample and sample[1].endswith("_bucket") and _reads_as_number(sample[3]):
            own = _engine_name(sample[1])
            name = _bucket(own, sample[2] or "")
            if name and _engine_named(own) in ("", engine):
                found[name] = found.get(name, 0.0) + float(sample[3])
    return found


def scrape_run(text: str, where: str) -> Run:
    """A scrape of an engine as a run, from the engine's start on; `joined` takes several as one.

    text: of `/metrics`. where: its file. Raises ValueError as `counters` does.

    >>> scrape_run("vllm:num_preemptions_total 5", "a.txt").series.grown("preemptions")
    5.0
    """
    engine, found, engines = _scrape_counters(samples := _samples(text))
    found |= _within(text, engine)
    told = found.keys() - {"started_s"}
    require(bool(told), where, f"a scrape of {READABLE}", f"none of {engine}'s counters")
    values = {
        name: np.array([0.0, x] if name in GROWING or WITHIN in name else [x])
        for name, x in found.items()
    }
    levels = {
        of: {name: np.array([x[0.0]]) for name, x in own.items()} for of, own in engines.items()
    }
    made, model = MADE_AT.search(text), re.search(r'model_name="([^"]+)"', text)
    series = Series(np.array([float(made[1]) if made else math.nan]), values, levels)
    name = model[1] if model else ""
    others = [*_other_engines(name for name, _, _ in samples), *_mixed_guesses(samples)]
    notes = ("one scrape: counters since the start", *others, *[RAYS] * (MIDDLES in text))
    return Run(where, engine, told=_means(series), series=series, model=name, notes=notes)


def _means(series: Series) -> dict[str, float]:
    """Means of what happened meanwhile, as a tool would tell them."""
    count = series.grown("ttft_count")
    apart = series.grown("ttft_apart")
    pairs = {"ttft_s": (series.grown("ttft_s"), count - (apart if apart > 0 else 0.0))}
    counted = ("latency_s", "prompt_tokens", "output_tokens")
    pairs |= {name: (series.grown(name), count) for name in counted}
    pairs["tpot_s"] = (series.grown("tpot_s"), series.grown("tpot_count"))
    told = {name: total / of for name, (total, of) in pairs.items() if total > 0 and of > 0}
    seconds = float(series.time_s[-1] - series.time_s[0]) if series.time_s.size > 1 else math.nan
    told |= {"completed": count} if count > 0 else {}
    return told | ({"duration_s": seconds} if seconds > 0 else {})


def _rows_of(one: Mapping[str, Any], called: str) -> list[tuple[float, float]]:
    """Moments and values of a series of a range query, in order."""
    values = one.get("values") or ([one["value"]] if "value" in one else [])
    require(len(values) > 0, called, "with values", "none")
    rows: list[tuple[float, float]] = []
    for pair in values:
        try:
            moment, value = float(pair[0]), float(pair[1])
        except (TypeError, ValueError, IndexError, KeyError):
            moment, value = math.nan, math.nan
        rule = "pairs of a time and a number"
        require(math.isfinite(moment), called, rule, repr(pair)[:40])
        rows.append((moment, value))
    return sorted(rows)


def range_query_run(data: Mapping[str, Any], where: str) -> Run:
    """The answer of Prometheus to a range query, of one metric or of several, as a run.

    data: of the answer, with data.result. Raises ValueError where no metric of an engine is in it,
    or its values are none.

    >>> metric = {"__name__": "vllm:num_requests_waiting"}
    >>> data = {"resultType": "matrix", "result": [{"metric": metric, "values": [[0, "2"]]}]}
    >>> range_query_run({"status": "success", "data": data}, "q.json").series.level("waiting")
    array([2.])
    """
    inner = data.get("data")
    listed = inner.get("result") if isinstance(inner, Mapping) else None
    fine = isinstance(listed, list) and all(isinstance(one, Mapping) for one in listed)
    require(fine, where, "an answer of Prometheus with data.result", str(data.get("error"))[:80])
    assert isinstance(listed, list)
    found: dict[str, Moments] = {}
    engines: dict[str, dict[str, Moments]] = {}
    growing: list[tuple[str, list[tuple[float, float]]]] = []
    metrics = [one["metric"] if isinstance(one.get("metric"), Mapping) else {} for one in listed]
    named = [
        (
            _engine_name(str(metric.get("__name__", ""))),
            ",".join(f'{k}="{v}"' for k, v in metric.items()),
        )
        for metric in metrics
    ]
    seen = [name or "a series without __name__" for name, _ in named]
    counted = zip(listed, metrics, named, _counters_of(named), strict=True)
    last: list[tuple[str, str, float]] = []
    for place, (one, metric, (name, labels), told) in enumerate(counted):
        if not told:
            continue
        rows = _own_rows(name, told, _rows_of(one, f"{where}: result {place + 1}"))
        _add_up(found, engines, told, metric, rows)
        known = [row for row in rows if math.isfinite(row[1])]
        last += [(name, labels, known[-1][1])] if known else []
        growing += [(x, known) for x in told if (x in GROWING or WITHIN in x) and known]
    _percent_as_shares(found, engines)
    rule = f"of metrics of an engine, such as {next(iter(ENGINES))}{NAMES['waiting'][0]}"
    require(bool(found), where, rule, ", ".join(seen)[:120] or "nothing")
    times = sorted({moment for own in found.values() for moment in own})

    def at_times(told: Mapping[str, Moments]) -> dict[str, FloatArray]:
        return {name: np.array([own.get(x, math.nan) for x in times]) for name, own in told.items()}

    values = at_times(found) | {
        name: np.sum([_so_far(rows, times) for one, rows in growing if one == name], axis=0)
        for name in dict(growing)
    }
    levels = {of: at_times(own) for of, own in engines.items()}
    series = Series(np.array(times), values, levels)
    names = [name for name, _ in named]
    notes = (f"{len(times):,} moments", *_other_engines(names), *_mixed_guesses(last))
    notes += (RAYS,) * any(MIDDLES in labels for _, labels in named)
    return Run(where, _engine_of(names), series=series, notes=notes)


def _so_far(rows: Sequence[tuple[float, float]], times: Sequence[float]) -> FloatArray:
    """One counter at moments, resets added as Prometheus does: from 0 where it begins later, at its
    last value where it ends earlier.

    >>> _so_far([(1.0, 5.0), (2.0, 7.0), (3.0, 1.0)], [0.0, 1.0, 2.0, 3.0, 4.0]).tolist()
    [0.0, 0.0, 2.0, 3.0, 3.0]
    """
    moments, values = np.array(rows).T
    steps = np.diff(values)
    begun = float(values[0]) if moments[0] <= times[0] else 0.0
    total = begun + np.r_[0.0, np.cumsum(np.where(steps < 0, values[1:], steps))]
    place = np.searchsorted(moments, times, side="right")
    return np.asarray(np.r_[0.0, total][place])


def _looks_tabled(text: str) -> bool:
    """Whether a table has an engine's levels by the second."""
    head = {compared(name) for name in text.removeprefix("\ufeff").split("\n", 1)[0].split(",")}
    known = [role for role, names in TABLE.items() if head & set(names)]
    log = any(name.startswith(REQUESTS) for name in head)
    return (len(known) > 1 or known == ["power_w"]) and bool(head & set(TIMES)) and not log


def table_run(text: str, where: str) -> Run:
    """A table of an engine's levels by the second as a run.

    text: with a header that names a time, running, waiting, the share of the cache and power, or a
    time and power alone, as nvidia-smi writes them. Raises ValueError by row and column.

    >>> table_run("t,running,waiting\\n1,5,2", "a.csv").series.level("waiting").tolist()
    [2.0]
    """
    header, *rows = read_table(text, where)
    require(len(rows) > 0, where, "a header and a row or more", "none")
    columns: dict[str, FloatArray] = {}
    for place, name in enumerate(header):
        form = compared(name)
        known = [role for role, names in (TABLE | {"time": TIMES}).items() if form in names]
        if not known:
            continue
        for number, row in enumerate(rows, start=2):
            require(
                len(row) == len(header), f"{where}: row {number}", f"{len(header)} long", len(row)
            )
        cells = [row[place].strip() for row in rows]
        if known[0] == "power_w":  # nvidia-smi writes the unit beside each number
            cells = [cell.removesuffix(" W").replace("[N/A]", "nan") for cell in cells]
        columns[known[0]] = _table_column(cells, known[0], f"{where}: row", name)
    devices = {compared(name): place for place, name in enumerate(header)}
    of = next((devices[name] for name in DEVICES if name in devices), None)
    if "power_w" in columns and of is not None:
        each = {row[of].strip(): row[of] for row in rows}
        columns["power_w"] = columns["power_w"] * len(each)  # of all, where each has a row
    if "cache" in columns and (np.nanmax(columns["cache"]) > PERCENT_ABOVE or "pct" in text[:200]):
        columns["cache"] = columns["cache"] / 100
    times = columns.pop("time")
    tool = "devices" if set(columns) == {"power_w"} else "an engine"
    return Run(where, tool, series=Series(times, columns), notes=(f"{times.size:,} moments",))


def _table_column(cells: Sequence[str], role: str, row: str, name: str) -> FloatArray:
    """Numbers of a table's column; a time may be of the calendar."""
    if role == "time" and not _reads_as_number(cells[0]):
        dates = [re.sub(r"^(\d{4})/(\d\d)/(\d\d)", r"\1-\2-\3", cell) for cell in cells]
        return np.asarray(_by_calendar(dates, name, 2) / 1e9, dtype=float)
    for number, cell in enumerate(cells, start=2):
        if not _reads_as_number(cell):
            require(False, f"{row} {number}, column {name}", "a number", repr(cell[:40]))
    return np.array(cells, dtype=float)


def check_every_engine_is_read() -> None:
    """The same two requests that wait, as each engine names them.

    Source: the engines' documents of their metrics.
    """
    for name in ("vllm:num_requests_waiting", "sglang:num_queue_reqs", "tgi_queue_size"):
        engine, found = counters(f'# TYPE x gauge\n{name}{{model_name="m"}} 2.0\n')
        checks.equal(engine, found, {"waiting": 2.0})


def check_bad_input_is_refused() -> None:
    """Other texts and answers without metrics say what would do."""
    checks.raises("other", counters, "up 1", match="must be a scrape of vLLM, SGLang")
    checks.raises("failed", range_query_run, {"error": "timeout"}, "q", match="got timeout")
    data = {"data": {"result": [{"metric": {"__name__": "up"}, "values": [[0, "1"]]}]}}
    checks.raises("up", range_query_run, data, "q", match="of metrics of an engine")
    checks.raises("cell", table_run, "t,running,waiting\n1,x,2", "a", match="row 2, column running")
