from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.planner.answers.plot_axes import Axis, _y
from serving_mathematics.report.evidence import Run, Series
from serving_mathematics.report.findings.finding import Asked
from serving_mathematics.report.report_plots import _limit, run_plots

from .example_runs import clean
from .test_comparison import stage


def test_a_ladder_and_levels_are_drawn() -> None:
    runs = [stage(4, 4), stage(8, 5, 3.0), stage(16, 5.2, 9.0)]
    assert [plot.title for plot in run_plots(runs, Asked())] == ["The ladder of loads"]
    levels = {"running": np.arange(40.0), "waiting": np.zeros(40)}
    run = Run("", "", series=Series(np.arange(40.0), levels))
    assert [plot.title for plot in run_plots([run], Asked())] == ["The engine over time"]


@pytest.mark.parametrize(
    ("slower", "unit", "seconds"), [(1, "s", 1), (9, "min", 60), (99, "h", 3600)]
)
def test_a_run_that_lasts_longer_is_told_in_a_longer_unit(
    slower: int, unit: str, seconds: int
) -> None:
    run = clean(count=1500)
    sent = slower * 200 / run.columns["sent_s"].max() * run.columns["sent_s"]
    plot = run_plots([replace(run, columns=run.columns | {"sent_s": sent})], Asked())[0]
    assert plot.rows[0][0] == f"sent at [{unit}]"
    got = [seconds * float(row[0]) for row in plot.rows[1:]]
    assert got == pytest.approx([x.mean() for x in np.array_split(sent, len(got))], rel=1e-3)


def test_every_drawing_says_what_it_shows() -> None:
    for plot in run_plots([clean(count=1500)], Asked(ttft_s=0.2, tpot_s=0.02)):
        root = ET.fromstring(plot.svg)
        assert root.get("role") == "img"
        titles = [one.text for one in root if one.tag.endswith(("title", "desc"))]
        assert all(titles)
        assert len({len(row) for row in plot.rows}) == 1
        numbers = "".join(one.get("d", "") for one in root.iter())
        assert "nan" not in numbers
    assert run_plots([], Asked()) == []


def test_an_objective_stands_at_its_value_in_the_axis_unit() -> None:
    up = Axis(0.0, 400.0)  # ms
    drawn = _limit(up, 10.0, 0.1, 1e3)
    assert f" {_y(up, 10.0, 100.0):.1f}H" in drawn
    assert "objective 100<" in drawn
    assert _limit(up, 10.0, 0.5, 1e3) == ""


def test_numbers_beside_the_drawings_are_those_of_the_requests() -> None:
    """Counted one by one, of a log that lacks a time and a moment and has failures."""
    rng, count = np.random.default_rng(6), 360
    sent, ttft = np.sort(rng.uniform(0, 200, count)), rng.gamma(2, 0.2, count)
    tokens, failed = rng.integers(2, 40, count).astype(float), np.arange(count) % 9 == 4
    whole = ttft + rng.uniform(0.01, 0.02, count) * (tokens - 1)
    ttft[7] = sent[11] = math.nan
    columns = {"sent_s": sent, "ttft_s": ttft, "latency_s": whole, "output_tokens": tokens}
    run = Run("", "", columns | {"failed": failed.astype(float)})
    drawn = {plot.title: np.array(plot.rows[1:], float) for plot in run_plots([run], Asked())}
    listed = np.column_stack([sent, ttft, whole, tokens])[~failed].tolist()
    good = [x for x in listed if x[0] == x[0]]
    told = np.array([x for x in good if x[1] == x[1]])
    inside = [sum(a < x < a + w for a, _, w, _ in good) for x in told[:, 0].tolist()]
    rows = np.column_stack([told, inside, 1e3 * (told[:, 2] - told[:, 1]) / (told[:, 3] - 1)])
    over = [
        [x[:, 0].mean(), *np.quantile(x[:, 1], (0.5, 0.95))]
        for x in np.array_split(rows, len(rows) // 20)
    ]
    load = [
        [x[:, 4].mean(), np.quantile(x[:, 1], 0.95), np.quantile(x[:, 5], 0.95)]
        for x in np.array_split(rows[np.argsort(rows[:, 4], kind="stable")], 12)
    ]
    for title, due in (
        ("Time to first token over the run", over),
        ("Latency against load", load),
    ):
        assert drawn[title] == pytest.approx(np.array(due), rel=6e-3), title


def test_levels_are_drawn_over_moments_and_where_one_of_them_is_told() -> None:
    levels = {"running": np.full(12, math.nan), "waiting": np.ones(12)}
    for moments, drawn in ((np.full(12, 5.0), 0), (np.arange(12.0), 1)):
        plots = run_plots([Run("", "", series=Series(moments, levels))], Asked())
        assert len(plots) == drawn
