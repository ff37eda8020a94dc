"""How fast the simulators of this site are, beside others, from the records of `make bench`.

Each engine simulates the same queues for the same processor clock, in rounds in which all take
their turn, and its mean wait is held against Erlang C or Pollaczek–Khinchine in the same run. The
whole is measured twice; a ratio is formed within a round, and what is printed is its median and
range over the rounds.

Assumes: processor time of one thread; imports, compiling and averaging are not counted.

Source: the records simulator_speed and batching_speed; Erlang C and Pollaczek–Khinchine for the
mean waits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from serving_mathematics.core.queues.erlang import mean_wait
from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.reference.build_benchmark import _aims as build_aims
from serving_mathematics.reference.performance_fleets import _aims as fleet_aims
from serving_mathematics.reference.simulation_trust import customers_needed
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import digits, read_record, runs_of, spread_text

RECORDS = ("simulator_speed", "batching_speed", "sketch_speed")
ENGINES = {
    "long_run": "this site, long run in lanes",
    "drawing": "only its random numbers",
    "one_log": "this site, one log in memory",
    "plain_loop": "this site, plain Python loop",
    "cimba": "Cimba, engine in C",
    "simpy": "SimPy",
    "ciw": "Ciw",
}
QUEUES = ("M/M/1", "M/G/1", "M/M/8")
CASES = ("light load", "heavy load", "scarce memory", "scarce, a thousand inside")
AIM_SCARCE = 5.0  # times the steps
Pair = tuple[dict[str, float], dict[str, float]]  # median, least and most in each run

SAME = 0.1  # medians so close are the same, however little the rounds vary
AIM_ONE, AIM_DRAWING, AIM_EIGHT = 400.0, 2.0, 150.0  # times SimPy, times the numbers, times SimPy


def _runs(name: str) -> list[dict[str, Any]]:
    """Both runs of a record."""
    return runs_of(read_record(name))


def _engine_rows(queue: str) -> str:
    """A row of the table for each engine: time, customers, ratio, time to ±1%; first run."""
    row = _runs("simulator_speed")[0][queue]
    lines = []
    for engine, cell in row["engines"].items():
        ns = cell["ns"]
        waits = (
            "" if engine == "drawing" else f"{cell['mean_wait']:.3f} ± {cell['standard_error']:.3f}"
        )
        seconds = "" if engine == "drawing" else digits(row["to_one_percent"]["seconds"][engine])
        ratio = "1" if engine == "long_run" else spread_text(cell["ratio"])
        parts = (
            ENGINES[engine],
            spread_text(ns),
            digits(1e3 / ns["median"]),
            ratio,
            seconds,
            waits,
        )
        lines.append(f"| {' | '.join(parts)} |")
    return "\n".join(lines)


def _batching_rows() -> str:
    """A row of the table for each case; first run."""
    lines = []
    for case, row in _runs("batching_speed")[0].items():
        rates = [digits(1e9 / row["ns"][name]["median"]) for name in ("steps", "events")]
        preempted = f"{100 * row['preempted_share']:.0f}%"
        seen = (digits(row["inside"]), digits(row["steps_a_request"]), preempted)
        parts = (case, *seen, *rates, spread_text(row["ratio"]))
        lines.append(f"| {' | '.join(parts)} |")
    return "\n".join(lines)


def _spreads(record: Any, path: str = "") -> Iterator[tuple[str, dict[str, float]]]:
    """Every ratio of a run, by its place; those of something to itself left out."""
    for key, value in record.items() if isinstance(record, dict) else ():
        if key in ("ratio", "merge_ratio"):
            if value["least"] < value["most"]:
                yield f"{path}/{key}", value
        else:
            yield from _spreads(value, f"{path}/{key}")


def _pairs() -> dict[str, Pair]:
    """Every ratio in both runs, of all records."""
    found: dict[str, Pair] = {}
    for name in RECORDS:
        first, second = (dict(_spreads(run)) for run in _runs(name))
        found |= {name + path: (first[path], second[path]) for path in first}
    return found


def _overlap(pair: Pair) -> bool:
    """Whether the ranges of two runs have a value in common."""
    one, other = pair
    return max(one["least"], other["least"]) <= min(one["most"], other["most"])


def _difference(pair: Pair) -> float:
    """How far the medians of two runs are apart, as a share of the smaller."""
    low, high = sorted(spread["median"] for spread in pair)
    return high / low - 1


def _simpy(queue: str) -> float:
    """How many times as long as our long run SimPy takes; the smaller median of the two runs."""
    return float(
        min(run[queue]["engines"]["simpy"]["ratio"]["median"] for run in _runs(RECORDS[0]))
    )


def _drawing(queue: str) -> float:
    """How many times as long as drawing its numbers our long run takes; the larger of two."""
    runs = _runs("simulator_speed")
    return float(max(1 / run[queue]["engines"]["drawing"]["ratio"]["median"] for run in runs))


def _aim_rows() -> str:
    """Every aim, those that were missed first, as rows of Markdown."""
    drawn = max(_drawing("M/M/1"), _drawing("M/G/1"))
    aims = [
        (f"SimPy's time over our long run's, {queue}", f"{aim:g} or more", f"{got:.0f}", got >= aim)
        for queue, aim in (("M/M/1", AIM_ONE), ("M/G/1", AIM_ONE), ("M/M/8", AIM_EIGHT))
        for got in (_simpy(queue),)
    ]
    drawing = (f"{AIM_DRAWING:g} at most", f"{drawn:.2f}", drawn <= AIM_DRAWING)
    aims += [
        ("our long run's time over drawing its numbers alone, one server", *drawing),
        *build_aims(),
        *fleet_aims(),
    ]
    cells = [(*aim[:3], _met(aim[3])) for aim in sorted(aims, key=lambda aim: aim[3])]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _met(condition: bool) -> str:
    """The verdict on an aim."""
    return "met" if condition else "missed"


def _faster() -> str:
    """Which foreign engines were faster than our long run, on which queue."""
    found = [
        f"{ENGINES[engine].partition(',')[0]} on {queue}"
        for queue in QUEUES
        for engine in ("cimba", "simpy", "ciw")
        if any(run[queue]["engines"][engine]["ratio"]["median"] < 1 for run in _runs(RECORDS[0]))
    ]
    return (
        f"Faster than ours: {', '.join(found)}."
        if found
        else "None of SimPy, Ciw and Cimba is faster than the long run."
    )


def example() -> SimpleNamespace:
    """What the text quotes: tables as rows of Markdown, verdicts in words."""
    record = read_record("simulator_speed")
    runs, pairs = _runs("simulator_speed"), _pairs()
    machine = record["machine"]
    packages = {
        k: v for k, v in record["versions"].items() if k in ("numpy", "simpy", "ciw", "cimba")
    }
    dates = sorted(read_record(name)["date"] for name in RECORDS)
    loads = {name: [run["load_before"] for run in read_record(name)["runs"]] for name in RECORDS}
    busy = [load for found in loads.values() for load in found]
    cimba = [run[queue]["engines"]["cimba"]["ratio"]["median"] for run in runs for queue in QUEUES]
    draws = [run["M/G/1"]["engines"] for run in runs]
    return SimpleNamespace(
        made_on=f"from {dates[0]} to {dates[-1]}",
        machine=f"{machine['cpu']}, {machine['cores']} cores, {machine['os']}",
        made_of=f"Python {record['versions']['python']}, "
        + ", ".join(f"{name} {version}" for name, version in packages.items()),
        busy_with=f"{digits(min(busy))} to {digits(max(busy))}",
        rows_mm1=_engine_rows("M/M/1"),
        rows_mg1=_engine_rows("M/G/1"),
        rows_mm8=_engine_rows("M/M/8"),
        faster_engines=_faster(),
        drawing_limit_mg1=max(
            e["simpy"]["ns"]["median"] / e["drawing"]["ns"]["median"] for e in draws
        ),
        aim_rows=_aim_rows(),
        cimba_least=min(cimba),
        cimba_most=max(cimba),
        rows_batching=_batching_rows(),
        ratios_all=len(pairs),
        ratios_overlapping=sum(map(_overlap, pairs.values())),
        furthest_difference=100 * max(map(_difference, pairs.values())),
    )


def figure_customers_a_second(figure: Figure) -> None:
    """The long run, which simulates lanes of customers with numpy, is far ahead of every simulator
    that handles one event after the other, even of the one in C; with one server, drawing its
    random numbers takes most of its time.

    Customers in a second of processor time, median of the first recorded run on a logarithmic axis;
    the labels say how many times as long as the long run each takes.

    Alt: Three panels, one for each queue, with seven engines as rows and points on a logarithmic
    axis from ten thousand to a hundred million customers a second. From the left: Ciw, SimPy, the
    plain Python loop, Cimba, one log in memory, the long run in lanes, and drawing the numbers.
    """
    figure.set_size_inches(5.8, 6.6)
    panels = figure.subplots(3, 1, sharex=True)
    run = _runs("simulator_speed")[0]
    for axes, queue in zip(panels, QUEUES, strict=True):
        engines = run[queue]["engines"]
        for place, (engine, cell) in enumerate(reversed(engines.items())):
            rate = 1e3 / cell["ns"]["median"]
            foreign = engine in ("cimba", "simpy", "ciw")
            colour = "C4" if engine == "drawing" else "C1" if foreign else "C0"
            axes.plot(rate, place, "o", color=colour)
            label = f"× {digits(cell['ratio']['median'])}"
            axes.annotate(
                label, (rate, place), (7, 0), textcoords="offset points", va="center", color=colour
            )
        axes.set_yticks(range(len(engines)), [ENGINES[engine] for engine in reversed(engines)])
        axes.set(title=queue, xscale="log", xlim=(0.02, 600), ylabel="engine")
        axes.set_ylim(-0.6, len(engines) - 0.4)
        axes.set_xlabel("customers a second of processor time [million/s]")
        axes.minorticks_off()


def check_mean_waits() -> None:
    """Every simulator has the mean wait that the formula says, in both runs, so that all were timed
    on the same work.

    Source: Erlang C, and Pollaczek–Khinchine ρ(1 + C²)/(2(1 − ρ)) with C² = 4; standard errors
    from batch means of the long runs, for Cimba from its replications.
    """
    expected = {"M/M/1": 4.0, "M/G/1": 0.8 * 5 / 0.4, "M/M/8": mean_wait(6.4, 1.0, 8)}
    for number, run in enumerate(_runs("simulator_speed"), 1):
        for queue, exact in expected.items():
            for engine, cell in run[queue]["engines"].items():
                if engine != "drawing":
                    error = cell["standard_error"]
                    estimate = MeanEstimate(cell["mean_wait"], error, 1.96 * error)
                    checks.covers(f"run {number}, {queue}, {engine}", estimate, exact)


def check_equal_to_the_bit() -> None:
    """With eight servers, lanes give the same waits as the loop over customers; jumping from event
    to event gives the same token times as walking the steps. Both hold to the last bit.

    Source: `fifo_waits` and `simulate_steps` on the same input, in the recorded runs.
    """
    for number, run in enumerate(_runs("simulator_speed"), 1):
        label = f"run {number}, M/M/8: waits that differ"
        checks.equal(label, run["M/M/8"]["waits_that_differ"], 0, kind="measured")
    for number, run in enumerate(_runs("batching_speed"), 1):
        for case, row in run.items():
            label = f"run {number}, {case}: times that differ"
            checks.equal(label, row["times_that_differ"], 0, kind="measured")


def check_order_of_engines() -> None:
    """On every queue the long run is ahead of Cimba and of the plain Python loop, and both are
    ahead of SimPy and Ciw.

    Source: the medians of both recorded runs.
    """
    for number, run in enumerate(_runs("simulator_speed"), 1):
        for queue in QUEUES:
            ns = {engine: cell["ns"]["median"] for engine, cell in run[queue]["engines"].items()}
            slow, loop = min(ns["simpy"], ns["ciw"]), ns["plain_loop"]
            ordered = ns["long_run"] < min(ns["cimba"], loop) and max(ns["cimba"], loop) < slow
            got = f"{ns['long_run']:.0f}, {ns['cimba']:.0f}, {loop:.0f}, {slow:.0f} ns"
            checks.holds(f"run {number}, {queue}", ordered, got=got)


def check_one_percent() -> None:
    """A long run of about the computed length has an interval of about one percent, and its mean is
    within three standard errors of the formula's.

    Source: Daley's closed form for M/M/1, the variance of the long runs for the others; widths
    shrink with the root of the length, and that of 32 batches varies by an eighth of itself.
    """
    needed = customers_needed(0.8, 0.01)
    for number, run in enumerate(_runs("simulator_speed"), 1):
        found = run["M/M/1"]["to_one_percent"]["customers"]
        checks.close(f"run {number}, M/M/1: customers", found, needed, rtol=1e-6)
        for queue in QUEUES:
            planned = run[queue]["to_one_percent"]
            tried = planned["tried"]
            width = tried["half_width_percent"]
            expected = math.sqrt(planned["customers"] / tried["customers"])
            label = f"run {number}, {queue}"
            share = width / expected
            checks.inside(f"{label}: half-width, of what is expected", share, 0.6, 1.5)
            away = abs(tried["error_percent"]) / (width / 1.96)
            checks.inside(f"{label}: distance [standard errors]", away, 0.0, 3.0, kind="simulation")


def check_events_beat_steps() -> None:
    """Skipping from event to event gains more under light load than under heavy load, and less than
    under both where memory is scarce; everywhere it is at least five times as fast.

    Source: the ratios of both recorded runs.
    """
    for number, run in enumerate(_runs("batching_speed"), 1):
        ratio = {case: run[case]["ratio"]["median"] for case in CASES}
        ordered = ratio["light load"] > ratio["heavy load"] > ratio["scarce memory"]
        fast = min(ratio.values()) >= AIM_SCARCE
        got = ", ".join(f"{value:.3g}" for value in ratio.values())
        checks.holds(f"run {number}", ordered and fast, got=got)


def check_two_runs_agree() -> None:
    """At least four in five ratios agree between the two runs: their ranges overlap, or their
    medians differ by no more than a tenth.

    Source: both runs of the three records.
    """
    pairs = _pairs().values()
    same = sum(_overlap(pair) or _difference(pair) <= SAME for pair in pairs)
    checks.inside("share of ratios", same / len(pairs), 0.8, 1.0)


def check_ratios_are_ratios() -> None:
    """The recorded ratio of two simulators is the quotient of their times, as far as rounds vary.

    Source: the medians of the times; a median of quotients lies near the quotient of medians.
    """
    for run in _runs("simulator_speed"):
        for queue in QUEUES:
            ours = run[queue]["engines"]["long_run"]["ns"]["median"]
            for engine, cell in run[queue]["engines"].items():
                if engine == "long_run":  # the ratio to itself
                    continue
                quotient = math.log(cell["ns"]["median"] / ours / cell["ratio"]["median"])
                checks.inside(f"{queue}, {engine}: logarithm", quotient, -0.3, 0.3, kind="measured")
