"""The table of the machines, and the loads that keep their promises."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from serving_mathematics.core.machines import book
from serving_mathematics.core.machines.book import (
    MACHINES,
    SEEDS,
    example,
    highest_load,
    promised_load,
)
from serving_mathematics.core.machines.machines import AGENTS, Promise
from serving_mathematics.core.machines.reader import READER
from serving_mathematics.core.machines.running import run_engine


def test_a_row_for_each_machine() -> None:
    rows = example().machine_rows.splitlines()
    assert [row.split("*")[1] for row in rows] == [one.name for one in MACHINES]
    assert "256" in rows[0]
    assert all(row.count("|") == 8 for row in rows)
    assert 1.2 < example().installed_step < 2.0


def test_agents_keep_their_promise_below_what_is_recorded() -> None:
    """A tenth below, in a shorter run with one of the recorded seeds."""
    rate = (promised_load("agents") - 0.1) * AGENTS.ceiling_per_s
    run = run_engine(AGENTS, rate, 4000, np.random.default_rng(SEEDS[0]))
    assert run.kept(AGENTS) >= AGENTS.promise.share


def test_a_run_of_agents_may_lose_its_caches() -> None:
    """A 32nd above the load up to which forty runs keep the promise; eight may not show it."""
    load = promised_load("agents") + 1 / 32
    lost, held = (book._kept(AGENTS, load, book.REQUESTS, [seed]) for seed in (15, 10))
    assert lost < 0.6
    assert held > 0.95


def test_a_promise_to_nobody_and_one_that_cannot_be() -> None:
    easy = replace(READER, promise=Promise(1e9, np.inf))
    assert highest_load(easy, 200, [1]) == 1 - 2.0**-book.HALVINGS
    hard = replace(READER, promise=Promise(1e-9, np.inf))
    assert highest_load(hard, 200, [1]) == 0.0
    for other in (-1, 0.5):
        with pytest.raises(ValueError, match="seeds must be whole numbers from 0"):
            highest_load(READER, 200, [1, other])  # type: ignore[list-item]
    alone = [highest_load(READER, 2000, [seed]) for seed in (1, 2, 3)]
    assert min(alone) <= highest_load(READER, 2000, [1, 2, 3]) <= max(alone)


def test_the_command_asks_every_machine() -> None:
    with (
        mock.patch.object(book, "highest_load", return_value=0.5),
        mock.patch.object(book, "write_record", return_value="there") as write,
    ):
        book.main()
    name, record = write.call_args.args
    assert name == book.PROMISES
    assert record["loads"] == {one.name: 0.5 for one in MACHINES}
    assert promised_load("chat") > promised_load("agents")
    with pytest.raises(ValueError, match="name must be one of chat"):
        promised_load("mail")
