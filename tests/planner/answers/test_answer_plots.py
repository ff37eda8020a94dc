"""The plots of an answer: axes, points where the numbers are, and what a screen reader hears."""

from __future__ import annotations

import functools
import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from serving_mathematics.planner.answers.answer_plots import (
    STYLE,
    _least_covering,
    answer_plots,
    fleets_around,
    front_plot,
    latency_plot,
    plots_file,
    routers_plot,
)
from serving_mathematics.planner.answers.answer_tables import comparison_rows
from serving_mathematics.planner.answers.plot_axes import ABOVE, LEFT, PANEL, RIGHT, WIDTH, Plot
from serving_mathematics.planner.capacity_planner.routing import Routed
from serving_mathematics.planner.configurations import Answer, answer, whole_answer
from serving_mathematics.planner.questions.question import _split_name
from serving_mathematics.planner.questions.questions import read_choices

CSS = Path(__file__).resolve().parents[3] / "docs" / "assets" / "handbook.css"


@functools.cache
def told(**values: object) -> Answer:
    return answer(read_choices({"requests": 100, **values}))


def elements(plot: Plot, kind: str) -> list[ET.Element]:
    return [one for one in ET.fromstring(plot.svg).iter() if kind in one.get("class", "").split()]


def test_every_router_is_where_its_numbers_are() -> None:
    asked = {"rate_per_s": 9, "replicas": 2, "requests": 100, "parallelism": "tp1"}
    found = whole_answer(read_choices(asked), asked)
    assert isinstance(found, Routed)
    plot = routers_plot(found)
    assert answer_plots(found) == [plot]
    assert len(elements(plot, "point")) == len(found.ways) == len(plot.rows) - 1
    (chosen,) = elements(plot, "chosen")
    foot, top = (float(chosen.get("cy", 0)), float(chosen.get("cx", 0)))
    assert foot < 40  # nearly all keep the promise, at the head
    assert top == pytest.approx(46.0)  # and nothing is found, at the left


def test_the_planned_fleet_stands_between_smaller_and_larger_ones() -> None:
    found = told(rate_per_s=60, parallelism="tp1", precision="bf16")
    count = found.plan.best.replicas
    runs = fleets_around(found)
    counts = [run.replicas for run in runs]
    assert counts == sorted(set(counts))
    fewer = [count - 1] if found.plan.one_fewer else []
    assert counts[: len(fewer) + 2] == [*fewer, count, count + 1]
    assert counts[-2:] == [math.ceil(1.5 * count), 2 * count + 1]
    assert runs[counts.index(count)] is found.plan.best


def test_latencies_are_drawn_twice_with_their_objectives() -> None:
    plot = latency_plot(told(rate_per_s=60, parallelism="tp1", ttft_s=1.5))
    runs = sum("requests/s" not in row[1] for row in plot.rows[1:])
    assert runs == len(plot.rows) - 2
    assert len(elements(plot, "point")) == len(elements(plot, "interval")) == 2 * runs
    assert len(elements(plot, "chosen")) == 2
    words = [one.text for one in elements(plot, "of-limit")]
    assert words == ["objective 1.5", "objective 50"]
    assert plot.rows[0][1:3] == ["p99 of TTFT [s]", "p99 of TPOT [ms]"]
    x = [float(one.get("cx", "0")) for one in elements(plot, "chosen")]
    assert x[0] == x[1]


def test_the_class_that_decides_is_named_where_there_are_several() -> None:
    alone, two = (
        latency_plot(told(rate_per_s=20, parallelism="tp1", requests=200, classes=classes))
        for classes in ("chat:1", "chat:0.5; agents:0.5:prompt=8000,ttft=2")
    )
    assert ">p99 of TTFT [s]<" in alone.svg
    assert re.search(r">p99 of TTFT \[s\] of (chat|agents)<", two.svg)


def test_answers_of_one_token_have_no_time_per_token() -> None:
    plot = latency_plot(told(rate_per_s=5, mean_output_tokens=1, parallelism="tp1"))
    assert len(elements(plot, "point")) == len(plot.rows) - 1
    assert {row[2] for row in plot.rows[1:]} == {""}


def test_the_front_is_a_line_through_its_points() -> None:
    found = told(rate_per_s=30)
    plot = front_plot(found)
    assert plot
    assert plot.rows == comparison_rows(found)
    circles = {(one.get("cx"), one.get("cy")) for one in elements(plot, "point")}
    (line,) = elements(plot, "curve")
    ends = line.get("d", "")[1:].split("L")
    assert len(ends) == len(found.front)
    assert {tuple(end.split()) for end in ends} <= circles
    assert len(elements(plot, "chosen")) == 1
    (label,) = elements(plot, "chosen-label")
    assert label.text == f"{_split_name(found.question)} on H100 SXM, fp8"


def test_a_name_covers_no_point_where_it_can_and_ends_in_the_picture() -> None:
    text = "tp8 on H100 SXM, fp8"
    assert _least_covering(text, 300, 60, 1, [(300, 60)]) == (300, 51, "end")
    assert _least_covering(text, 300, 60, 1, [(300, 60), (280, 50)]) == (300, 78, "end")
    assert _least_covering(text, 60, 60, -1, [(60, 60)]) == (60, 78, "start")
    low = ABOVE + PANEL - 8
    assert _least_covering(text, 60, low, -1, [(60, low)]) == (60, low - 9, "start")
    at, _, anchor = _least_covering(text, (LEFT + RIGHT) / 2 - 1, 60, -1, [])
    assert anchor == "start"
    assert at + 7 * len(text) < WIDTH


def test_points_of_the_front_lie_upon_others_and_names_upon_points() -> None:
    plot = front_plot(told(rate_per_s=30))
    assert plot
    kinds = [one.get("class", "").split() for one in ET.fromstring(plot.svg).iter()]
    ranked = ("point", "front", "chosen", "label")
    ranks = [max(map(ranked.index, set(ranked).intersection(kind)), default=-1) for kind in kinds]
    ranks = [rank for rank in ranks if rank >= 0]
    assert ranks == sorted(ranks)
    assert set(ranks) == {0, 1, 2, 3}


def test_one_deployment_has_no_front() -> None:
    assert front_plot(told(rate_per_s=60, parallelism="tp1", precision="bf16")) is None
    assert len(answer_plots(told(rate_per_s=60, parallelism="tp1", precision="bf16"))) == 1


def test_a_drawing_is_named_and_described() -> None:
    for plot in answer_plots(told(rate_per_s=30)):
        root = ET.fromstring(plot.svg)
        assert root.get("role") == "img"
        title, description = list(root)[:2]
        assert root.get("aria-labelledby", "").split() == [title.get("id"), description.get("id")]
        assert title.text
        told_points = (description.text or "").split("; ")
        assert len(told_points) in (len(elements(plot, "point")), len(plot.rows) - 1)
        assert "style=" not in plot.svg  # the page's policy takes none
        for row in plot.rows[1:]:
            assert len(row) == len(plot.rows[0])


def test_nothing_is_drawn_outside() -> None:
    """Every point, line and label begins within the picture, also of a large fleet."""
    for values in ({"rate_per_s": 30}, {"rate_per_s": 2000, "parallelism": "tp1"}):
        for plot in answer_plots(told(**values)):
            width, height = (
                float(one) for one in re.findall(r'viewBox="0 0 (\S+) (\d+)', plot.svg)[0]
            )
            for one in ET.fromstring(plot.svg).iter():
                for across, up in (("cx", "cy"), ("x", "y")):
                    if one.get(across):
                        assert 0 <= float(one.get(across, "")) <= width
                        assert 0 <= float(one.get(up, "")) <= height


def test_a_file_holds_all_plots_and_the_colours_of_the_page() -> None:
    plots = answer_plots(told(rate_per_s=30))
    root = ET.fromstring(plots_file(plots))
    inner = [one for one in root if one.tag.endswith("svg")]
    assert [float(one.get("y", "")) for one in inner] == [0.0, 428.0]
    assert root.get("viewBox") == "0 0 360 642"
    page = set(re.findall(r"#[0-9a-f]{6}", CSS.read_text(encoding="utf-8")))
    of_curves = {"#1f6f8b", "#5bb0cc", "#b3261e", "#ff7a6e", "#dfdbd2", "#333a42"}
    assert of_curves <= set(re.findall(r"#[0-9a-f]{6}", STYLE)) & page
