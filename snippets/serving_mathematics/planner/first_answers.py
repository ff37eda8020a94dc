"""The planner's question as one sentence with blanks, and its answer for every choice: too many
plans for a build.

`python -m serving_mathematics.planner.first_answers` plans every combination of the choices and
writes records/first_answers.json.gz in about ten minutes of one processor. The home page answers
from this table alone; between its values it does not guess, and the planner's form takes the
choices along.

Assumes: what `fleet_search` assumes, and prices of a GPU hour that are only an example.

Source: `configurations` for the answers, of which a check plans one again.
"""

from __future__ import annotations

import html
import itertools
import json
from concurrent.futures import ProcessPoolExecutor
from decimal import ROUND_HALF_UP, Decimal
from types import SimpleNamespace
from typing import Any

from serving_mathematics.core.hardware.deployments import Impossible
from serving_mathematics.planner.capacity_planner.judged_requests import QUANTILES
from serving_mathematics.planner.capacity_planner.refusals import Infeasible
from serving_mathematics.planner.configurations import answer
from serving_mathematics.planner.questions.questions import read_choices
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import provenance, read_record, write_record

RECORD = "first_answers"
COMMAND = "python -m serving_mathematics.planner.first_answers"
Values = dict[str, str]  # by the names of the planner's fields
CHOICES: dict[str, dict[str, Values]] = {  # of each blank: what it says, and what it asks for
    "model": {
        "Llama-3.1-8B": {"model": "Llama-3.1-8B"},
        "Llama-3.3-70B": {"model": "Llama-3.3-70B"},
        "gpt-oss-120b": {"model": "gpt-oss-120b"},
    },
    "GPU": {
        "H100": {"device": "H100", "price_per_hour": "2"},
        "H200": {"device": "H200", "price_per_hour": "2.6"},
        "B200": {"device": "B200", "price_per_hour": "4"},
    },
    "requests a second": {rate: {"rate_per_s": rate} for rate in ("1", "5", "20")},
    "tokens in": {f"{n:,}": {"mean_prompt_tokens": f"{n}"} for n in (300, 1000, 4000)},
    "tokens out": {f"{n}": {"mean_output_tokens": f"{n}"} for n in (100, 300)},
    "promise": {
        f"{ttft:g} s, {1e3 * tpot:.0f} ms": {
            "ttft_s": f"{ttft:g}",
            "tpot_s": f"{tpot:g}",
        }
        for ttft, tpot in ((0.5, 0.025), (1, 0.04), (2, 0.08))
    },
}
DEFAULTS = (1, 0, 1, 1, 1, 1)  # the place of each blank's first choice
SAMPLED = (  # which a check plans again: a mixture, half full; and what takes a smaller batch limit
    (2, 2, 2, 1, 1, 0),
    (1, 0, 0, 2, 0, 2),
)
COLUMNS = ("replicas", "devices", "precision", "load", "ttft_ms", "tpot_ms", "if_slower", "error")


def _values(places: tuple[int, ...]) -> Values:
    """What the planner is asked for."""
    blanks = zip(CHOICES.values(), places, strict=True)
    return {
        name: value for texts, place in blanks for name, value in [*texts.values()][place].items()
    }


def _row(places: tuple[int, ...]) -> list[Any] | None:
    """The answer's numbers: replicas, devices of one, format, load [%], p99 of TTFT and TPOT [ms],
    replicas where steps are slow (0: no fleet does), and measured runs with their tenths.

    places: of the choices. None where nothing keeps the promise.
    """
    try:
        told = answer(read_choices(_values(places)))
    except (Impossible, Infeasible):
        return None
    best, one = told.plan.best, told.question.deployment
    last = QUANTILES.index(0.99)
    error = [told.error.runs, round(told.error.low, 2), round(told.error.high, 2)]
    return [
        best.replicas,
        one.devices,
        one.precision,
        min(100, round(100 * told.plan.estimate.load)),  # a closed form, which may say more
        round(1e3 * best.ttft[last].value),
        round(1e3 * best.tpot[last].value, 1),
        max(told.if_slower, best.replicas) if told.if_slower else 0,  # shorter runs may say fewer
        error,
    ]


def _measure() -> dict[str, Any]:
    """The whole record: rows in the order of the choices, the last blank the fastest."""
    every = itertools.product(*(range(len(texts)) for texts in CHOICES.values()))
    with ProcessPoolExecutor(2) as pool:
        rows = list(pool.map(_row, every, chunksize=8))
    errors = sorted({tuple(row[-1]) for row in rows if row})
    for row in rows:
        if row:
            row[-1] = errors.index(tuple(row[-1]))
    what = "the planner's answer to every choice of the home page"
    told = {"what": what, "columns": COLUMNS, "errors": errors, "rows": rows}
    return provenance(COMMAND, ["numpy"]) | told


def main() -> None:
    """Plan everything and write the record."""
    print(f"wrote {write_record(RECORD, _measure(), packed=True)}")


def _fixed(value: float, digits: int) -> str:
    """As a browser rounds: of two that are as near, up."""
    return str(Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def _sentence(places: tuple[int, ...], record: dict[str, Any]) -> tuple[str, str]:
    """The answer in a sentence, and how sure it is, as docs/assets/home.js says them."""
    sizes = [len(texts) for texts in CHOICES.values()]
    place = 0
    for size, chosen in zip(sizes, places, strict=True):
        place = place * size + chosen
    row = record["rows"][place]
    values = _values(places)
    if row is None:
        return (
            "No fleet of this GPU keeps that promise.",
            "The planner says what stands in the way.",
        )
    replicas, devices, precision, load, ttft_ms, tpot_ms, slower, error = row
    price = float(values["price_per_hour"])
    hour = replicas * devices * price
    million = hour / (float(values["rate_per_s"]) * float(values["mean_output_tokens"]) * 0.0036)
    fleet = "one replica" if replicas == 1 else f"{replicas} replicas"
    each = "one GPU" if devices == 1 else f"{devices} GPUs"
    told = (
        f"You need <b>{fleet} of {each}</b> in {precision.upper()}, <b>${hour:,.2f} an hour</b>, "
        f"${_fixed(million, 2)} a million tokens written. 99% get their first token within "
        f"{_fixed(ttft_ms / 1000, 2)} s and then, on average, one every {_fixed(tpot_ms, 0)} ms, "
        f"at {load}% of what the fleet can carry."
    )
    runs, low, high = record["errors"][error]
    then = (
        "no fleet keeps the promise"
        if not slower
        else "the answer stays the same"
        if slower == replicas
        else f"it takes {slower} replicas"
    )
    sure = (
        f"Of {runs:,} measured runs like this, all of tuned engines, eight of ten took {low:.2f} "
        f"to {high:.2f} times the predicted time per token; with {high:.2f}, {then}. An engine as "
        f"installed takes longer for a token. A GPU hour is assumed to cost ${price:.2f}."
    )
    return told, sure


def _blank(name: str, place: int) -> str:
    """A choice: a list where scripts run, and its first choice where none do."""
    texts = [*CHOICES[name]]
    options = "".join(
        f"<option{' selected' if n == place else ''}>{html.escape(text)}</option>"
        for n, text in enumerate(texts)
    )
    plain = f'<span class="blank">{html.escape(texts[place])}</span>'
    return f'<select aria-label="{name}" autocomplete="off">{options}</select>{plain}'


def example() -> SimpleNamespace:
    """The question with its blanks and the first answer, as HTML, and its numbers."""
    record = read_record(RECORD)
    blanks = [_blank(name, place) for name, place in zip(CHOICES, DEFAULTS, strict=True)]
    told, sure = _sentence(DEFAULTS, record)
    asks = [list(texts.values()) for texts in CHOICES.values()]
    data = {"asks": asks, "errors": record["errors"], "rows": record["rows"]}
    table = json.dumps(data, separators=(",", ":")).replace("</", "<\\/")
    asked = (
        "I serve {} on {} to {} requests a second of {} tokens in and {} out, "
        "and promise the first token and, on average, each further one within {}."
    )
    form = (
        f'<form class="home-question" data-search-exclude><p>{asked.format(*blanks)}</p>'
        f'<output><span class="told">{told}</span> <small>{sure}</small></output>'
        '<p class="ways-on"><a class="go" href="planner/">Open the planner</a>'
        '<button type="button">Copy link</button><a href="ask-your-log/">Ask your own log</a>'
        '<a href="start/">Where to start</a></p>'
        f'<script type="application/json">{table}</script></form>'
    )
    return SimpleNamespace(ask=form)


def check_answers_are_the_planners() -> None:
    """The table of the home page holds what the planner answers now.

    Source: the planner, asked again for two of them.
    """
    record = read_record(RECORD)
    sizes = [len(texts) for texts in CHOICES.values()]
    every = list(itertools.product(*map(range, sizes)))
    checks.equal("rows", len(record["rows"]), len(every))
    for places in SAMPLED:
        row, kept = _row(places), record["rows"][every.index(places)]
        assert row is not None
        name = ", ".join(_values(places).values())
        checks.equal(f"{name}: fleet", kept[:3], row[:3], kind="simulation")
        for place in (3, 4, 5):
            checks.close(
                f"{name}: {COLUMNS[place]}", kept[place], row[place], rtol=0.03, kind="simulation"
            )


def check_price_by_hand() -> None:
    """Dollars of the first answer, by hand.

    Source: five requests a second write 5 · 300 · 3600 = 5.4 million tokens an hour.
    """
    record = read_record(RECORD)
    told, _ = _sentence(DEFAULTS, record)
    checks.holds("price", "$8.00 an hour</b>, $1.48 a million" in told, got=told)


if __name__ == "__main__":
    main()
