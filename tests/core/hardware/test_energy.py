"""Power and energy: by hand, limits, planted shares found again, every error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware import energy
from serving_mathematics.core.hardware.benchmark_loops import loop_latencies
from serving_mathematics.core.hardware.catalogue import find_system, systems
from serving_mathematics.core.hardware.deployments import WORKED
from serving_mathematics.core.hardware.energy import (
    BOARD_W,
    POWER,
    SERVED,
    PowerShares,
    board_power_w,
    busy_shares,
    fit_power,
    joules_a_token,
    main,
    power_w,
    score_energy,
    served_power_w,
)
from serving_mathematics.core.hardware.harness_runs import HarnessRun
from serving_mathematics.core.hardware.step_terms import DATA_SHEET
from serving_mathematics.core.hardware.step_time import FITTED, Array, Work, count_work, prompt_s
from serving_mathematics.support.measuring import read_record

LOADS = [replace(WORKED, concurrency=float(load)) for load in (1, 2, 4, 8, 16, 32)]


def per_token_s(work: Work) -> Array:
    return loop_latencies(work, FITTED).per_token_s


def test_busy_shares_by_hand() -> None:
    """One sequence reads the weights and a little cache, and multiplies with each weight once."""
    one = replace(WORKED, concurrency=1.0)
    model, context = one.architecture, 1000 + 100
    taken = float(per_token_s(count_work([one]))[0])
    words = model.vocabulary * model.hidden * 2
    read = 2 * (model.attention_parameters + model.dense_parameters) + words + context * 131_072
    memory, arithmetic = busy_shares(count_work([one]), FITTED)
    assert memory[0] == pytest.approx(read / 3.35e12 / taken)
    scores = 4 * 32 * 4096 * context
    done = 2 * (model.attention_parameters + model.dense_parameters) + scores + words
    assert arithmetic[0] == pytest.approx(done / 989e12 / taken)


def test_a_step_of_guesses_gives_several_tokens() -> None:
    """Accepted guesses change how many tokens a step gives: per step as many bytes and operations
    of decoding, and the prompts of as many tokens."""
    work = count_work([replace(WORKED, concurrency=16.0)])
    many = replace(work, accepted=np.array([3.0]))
    for one in (work, many):
        step = one.accepted * per_token_s(one)
        prompts = 15 / one.answer * prompt_s(one, DATA_SHEET) * one.accepted
        memory, arithmetic = busy_shares(one, FITTED)
        alone = replace(one, accepted=np.ones(1), concurrency=np.ones(1))
        own = busy_shares(alone, FITTED)[1] * per_token_s(alone)
        assert (arithmetic * step - prompts) / 16 == pytest.approx(own, rel=0.05)
        reading = busy_shares(work, FITTED)[0] * per_token_s(work)
        assert memory * step == pytest.approx(reading)


def test_power_that_is_served_by_hand() -> None:
    """Waiting, bytes and operations of the tokens a second; half of a prompt where half is cached,
    and no more than the data sheet's."""
    model, words = WORKED.architecture, 128256 * 4096
    parameters = model.attention_parameters + model.dense_parameters
    read = 2 * (parameters + words) + 16 * 1100 * 131_072
    scores = 4 * 32 * 4096 * 1100
    prompt = float(prompt_s(count_work([WORKED]), DATA_SHEET)[0]) / 200
    for cached, rate in ((1.0, 900.0), (0.5, 900.0), (1.0, 10.0)):
        memory = rate * read / 16 / 3.35e12
        arithmetic = rate * ((2 * (parameters + words) + scores) / 989e12 + cached * prompt)
        share = POWER.idle_hopper + POWER.memory * memory + POWER.arithmetic * arithmetic
        got = served_power_w(WORKED, 700.0, 16.0, rate, cached * rate / 200)
        assert got == pytest.approx(700 * share, rel=1e-3)
    assert served_power_w(replace(WORKED, tensor=2), 700.0, 1.0, 1e9, 0.0) == 1400.0
    new = replace(WORKED, system=find_system("B200"))
    assert served_power_w(new, 1000.0, 1.0, 0.0, 0.0) == pytest.approx(1000 * POWER.idle_blackwell)
    for name, bad in (
        ("board_w", (0.0, 1.0, 1.0, 1.0)),
        ("running", (700.0, 0.5, 1.0, 1.0)),
        ("tokens_per_s", (700.0, 1.0, -1.0, 1.0)),
        ("prompts_per_s", (700.0, 1.0, 1.0, -1.5)),
    ):
        with pytest.raises(ValueError, match=f"{name} must be"):
            served_power_w(WORKED, *bad)


def test_power_at_the_measured_throughput_is_told_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that draw what their throughput takes are found again, however far the step model is
    off, which the power of the loop is then too."""
    monkeypatch.setattr(energy, "fit_power", lambda *_: POWER)
    runs = []
    for family in "ab":
        for load in (1, 4, 16, 64, 128):
            one, rate = replace(WORKED, concurrency=float(load)), 40.0 * load
            watts = served_power_w(one, 700.0, load, rate, rate / 200)
            runs.append(
                HarnessRun("ml-energy", family, one, 0.01, float("nan"), rate, watts, watts / rate)
            )
    told = score_energy(runs)
    assert told[SERVED]["all"]["p90"] == 0.0
    assert told["power"]["all"]["median"] > 0.05


@given(st.floats(1, 300))
def test_joules_are_power_over_throughput(load: float) -> None:
    one = replace(WORKED, concurrency=load)
    rate = load / float(per_token_s(count_work([one]))[0])
    assert float(joules_a_token([one])[0]) == pytest.approx(float(power_w([one])[0]) / rate)


@given(st.floats(1, 200), st.floats(1.01, 2))
def test_more_sequences_draw_more_and_need_less_each(load: float, more: float) -> None:
    few, many = (replace(WORKED, concurrency=count) for count in (load, load * more))
    assert power_w([many])[0] >= power_w([few])[0] * (1 - 1e-9)
    assert joules_a_token([many])[0] < joules_a_token([few])[0]


def test_power_is_between_idle_and_the_data_sheet() -> None:
    for name in ("h100", "b200"):
        asked = [replace(one, system=find_system(name), tensor=2) for one in LOADS]
        board = 2 * board_power_w(find_system(name).name)
        idle = POWER.idle_hopper if name == "h100" else POWER.idle_blackwell
        found = power_w(asked)
        assert np.all((idle * board < found) & (found <= board))


def test_planted_shares_are_found() -> None:
    truth = PowerShares(0.3, 0.4, 0.35, 0.8)
    asked = LOADS + [replace(one, system=find_system("b200")) for one in LOADS]
    told = power_w(asked, FITTED, truth)
    wrong = told * np.where(np.arange(12) == 3, 2.0, 1.0)  # one that is far off weighs little
    found = fit_power(asked, wrong, FITTED)
    for name, value in vars(truth).items():
        assert getattr(found, name) == pytest.approx(value, rel=0.2), name


def test_every_device_but_tpus_has_a_power() -> None:
    assert systems().keys() - BOARD_W.keys() == {"tpu_v5e", "tpu_v5p", "tpu_v6e", "tpu_v7"}
    with pytest.raises(
        ValueError, match="device must be one whose power is published: a10, a100_pcie"
    ):
        board_power_w("tpu_v7")


def test_shapes_of_measurements_are_refused() -> None:
    with pytest.raises(ValueError, match=r"measured_w must be of shape \(6,\)"):
        fit_power(LOADS, np.ones(5), FITTED)


def test_the_record_is_written_or_the_folder_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 2
    assert "folder must be one with" in capsys.readouterr().err
    runs = [
        HarnessRun(
            "ml-energy",
            family,
            one,
            0.01,
            float("nan"),
            100.0,
            float(power_w([one])[0]),
            float(joules_a_token([one])[0]),
        )
        for family in "ab"
        for one in LOADS
    ]
    written: dict[str, object] = {}
    monkeypatch.setattr(energy, "read_files", lambda _: runs)
    monkeypatch.setattr(energy, "write_record", lambda name, told: written.update({name: told}))
    assert main([str(tmp_path)]) == 0
    assert set(written) == {"energy_scores"}
    monkeypatch.setattr(energy, "read_files", lambda _: [replace(runs[0], power_w=float("nan"))])
    assert main([str(tmp_path)]) == 2
    assert "one with ml_energy.csv" in capsys.readouterr().err


def test_scores_are_told_by_device() -> None:
    record = read_record("energy_scores")
    for name in ("power", "joules a token"):
        assert sum(one["runs"] for one in record[name]["device"].values()) == 378
