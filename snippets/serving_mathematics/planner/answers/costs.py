"""What a plan costs beside its GPUs: a token in and a token out, an API, power and energy, in words
and as numbers.

Assumes: an answer from `configurations`.

Source: `token_prices` and `fleet_energy` for the numbers.
"""

from __future__ import annotations

from serving_mathematics.planner.answers.lines import Line
from serving_mathematics.planner.capacity_planner.fleet_energy import FleetEnergy
from serving_mathematics.planner.capacity_planner.token_prices import token_prices
from serving_mathematics.planner.configurations import Answer
from serving_mathematics.support.digits import priced, sized
from serving_mathematics.support.require import require_finite


def watts_text(watts: float) -> str:
    """Power with its unit.

    watts: finite. Raises ValueError otherwise.

    >>> watts_text(950.4), watts_text(12345.0)
    ('950 W', '12.3 kW')
    """
    watts = require_finite(watts=watts)
    return f"{sized(watts / 1000)} kW" if watts >= 1000 else f"{sized(watts)} W"


def power_text(told: Answer) -> str:
    """What the fleet draws and takes a day, and what that costs where the reader said it.

    told: the answer.

    >>> from serving_mathematics.planner.configurations import _small_answer
    >>> power_text(_small_answer()).partition(" ± ")[0]
    '428 W'
    """
    energy, question = told.energy, told.question
    if energy is None:
        return f"not known: no power is published for {question.deployment.system.shown}"
    watts = watts_text(energy.watts)
    unsure = "" if energy.measured else ", measured on other devices"
    said = [f"{watts} ± {100 * energy.error:.0f}%{unsure}", f"{sized(energy.kwh_a_day)} kWh a day"]
    if question.usd_per_kwh:
        said.append(f"${priced(energy.kwh_a_day * question.usd_per_kwh)}")
    if question.grams_per_kwh:
        said.append(f"{sized(energy.kwh_a_day * question.grams_per_kwh / 1000)} kg of CO₂")
    return ", ".join(said)


def least_energy_text(energy: FleetEnergy) -> str:
    """Where a token takes the least energy, and what it takes alone.

    energy: of a fleet.

    >>> from serving_mathematics.planner.capacity_planner.fleet_energy import FleetEnergy
    >>> told = FleetEnergy(900.0, 0.5, 0.2, 9, True, 4.0, 0.005, 0.25, 256, 0.04)
    >>> least_energy_text(told)[:67]
    '0.25 J, with 256 sequences in every step and a token every 40 ms: t'
    """
    return (
        f"{sized(energy.least_joules, 2)} J, with {energy.least_places:,} sequences in every step "
        f"and a token every {sized(1e3 * energy.least_s, 2)} ms: they share the idle power and the "
        "reading of weights; a lone request gets a token every "
        f"{sized(1e3 * energy.alone_s, 2)} ms, for {sized(energy.alone_joules, 2)} J"
    )


def cost_lines(told: Answer) -> list[Line]:
    """Prices of tokens, and of an API where it was given; energy of a token, how sure that is, and
    where it would be least.

    told: the answer.

    >>> from serving_mathematics.planner.configurations import _small_answer
    >>> [line.what for line in cost_lines(_small_answer())]
    ['price of 10⁶ tokens', 'energy of a generated token', 'least energy']
    """
    return _price_lines(told) + _energy_lines(told)


def _price_lines(told: Answer) -> list[Line]:
    """What a token in and a token out cost, and an API."""
    prices = token_prices(told.question, told.plan)
    in_and_out = prices.usd_per_million_in, prices.usd_per_million_out
    each = "${} in, ${} out".format(*(priced(usd, 3) for usd in in_and_out))
    lines = [Line("price of 10⁶ tokens", each, "intuition/latency-throughput-cost")]
    if prices.api_usd_per_hour is not None and prices.even_share is not None:
        said = _api_said(prices.api_usd_per_hour, prices.even_share, told.plan.load)
        lines.append(Line("the API, for the same", said, "intuition/batch-vs-online"))
    return lines


def _api_said(usd_per_hour: float, even_share: float, load: float) -> str:
    """What an API takes, and from which traffic on a fleet is cheaper, as far as it can serve that.
    even_share: of this traffic. load: this traffic over the most that the fleet could serve."""
    much = f"{100 * even_share:,.0f}% of this traffic"
    cheaper = f"this fleet is cheaper from {much} up"
    if even_share > 1:
        cheaper = f"this fleet would be cheaper if it carried {much} or more, and it could serve "
        cheaper += f"{100 / load:,.0f}% at most"
    return f"${priced(usd_per_hour)} an hour; {cheaper}"


def _api_summary(told: Answer) -> str:
    """What an API takes for the same, as a sentence, where its prices were given."""
    said = [line.value for line in _price_lines(told) if line.what.startswith("the API")]
    return "".join(f" The API, for the same, costs {value}." for value in said)


def _energy_lines(told: Answer) -> list[Line]:
    """What a token takes, how sure that is, and where it would take least."""
    energy, chapter = told.energy, "intuition/latency-throughput-cost"
    if energy is None:
        return []
    said = (
        f"{sized(energy.joules_a_token)} J ± {100 * energy.error:.0f}%: as near were nine "
        f"in ten of {energy.runs} measured runs, predicted without their own model"
    )
    if not energy.measured:
        like = "a B200" if told.question.deployment.system.generation == "blackwell" else "an H100"
        said += f"; none of them was on this device, which is taken to share its power as {like}"
    return [
        Line("energy of a generated token", said, chapter),
        Line("least energy", least_energy_text(energy), chapter),
    ]


def energy_summary(told: Answer) -> str:
    """Energy as sentences, where its price or its grid was given.

    told: the answer.

    >>> from dataclasses import replace
    >>> from serving_mathematics.planner.configurations import _small_answer
    >>> told = _small_answer()
    >>> asked = replace(told.question, grams_per_kwh=400)
    >>> energy_summary(replace(told, question=asked)).partition(" ± ")[0]
    ' It draws 428 W'
    """
    if not (told.question.usd_per_kwh or told.question.grams_per_kwh):
        return ""
    if told.energy is None:
        return f" What it draws is {power_text(told)}."
    least = least_energy_text(told.energy)
    return f" It draws {power_text(told)}. A token takes least energy, {least}."


def cost_record(told: Answer) -> dict[str, float | int | str]:
    """The same as names and numbers.

    told: the answer.

    >>> from serving_mathematics.planner.configurations import _small_answer
    >>> round(cost_record(_small_answer())["watts"])
    428
    """
    return _price_record(told) | _energy_record(told)


def _price_record(told: Answer) -> dict[str, float | int | str]:
    """Prices of a token in and out, and of an API where it was given."""
    prices = token_prices(told.question, told.plan)
    record: dict[str, float | int | str] = {
        "usd_per_million_tokens_in": prices.usd_per_million_in,
        "usd_per_million_tokens_out": prices.usd_per_million_out,
    }
    if prices.api_usd_per_hour is not None and prices.even_share is not None:
        record["api_usd_per_hour"] = prices.api_usd_per_hour
        record["api_even_share"] = prices.even_share
    return record


def _energy_record(told: Answer) -> dict[str, float | int | str]:
    """Energy, where a power of the device is known."""
    energy, question = told.energy, told.question
    if energy is None:
        return {"watts": "", "power_measured": "no"}
    record: dict[str, float | int | str] = {
        "watts": energy.watts,
        "power_error": energy.error,
        "power_measured": "yes" if energy.measured else "no",
        "kwh_per_day": energy.kwh_a_day,
        "joules_per_token": energy.joules_a_token,
        "joules_per_token_alone": energy.alone_joules,
        "joules_per_token_least": energy.least_joules,
        "least_energy_places": energy.least_places,
        "least_energy_token_s": energy.least_s,
    }
    if question.usd_per_kwh:
        record["energy_usd_per_day"] = energy.kwh_a_day * question.usd_per_kwh
    if question.grams_per_kwh:
        record["co2_kg_per_day"] = energy.kwh_a_day * question.grams_per_kwh / 1000
    return record
