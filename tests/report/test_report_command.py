from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from serving_mathematics.report.report_command import (
    _compared_runs,
    _read_files,
    _report_files,
    command_parser,
    main,
    read_asked,
)

from .example_runs import clean, detailed, log_csv


@pytest.fixture
def result(tmp_path: Path) -> Path:
    file = tmp_path / "results.json"
    file.write_text(detailed(clean(count=200)), encoding="utf-8")
    return file


def test_a_report_is_written_whole(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report"
    words = [str(result), "--ttft-s", "1", "--tpot-s", "0.1", "--out", str(out)]
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.startswith("vLLM bench serve: 200 requests")
    assert len(said.out.splitlines()) <= 15
    names = {"report.html", "report.md", "report.json", "report.schema.json"}
    assert names <= {one.name for one in out.iterdir()}
    assert (
        json.loads((out / "report.json").read_text(encoding="utf-8"))["runs"][0]["requests"] == 200
    )
    assert main(words) == 0  # again, over what it wrote


def test_a_run_is_compared_with_one_before(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = json.loads(result.read_text(encoding="utf-8"))
    data["ttfts"] = [2 * x for x in data["ttfts"]]
    slow = tmp_path / "slow.json"
    slow.write_text(json.dumps(data), encoding="utf-8")
    against = [str(slow), "--against", str(result), "--fail-on", "problem"]
    assert main(against) == 3
    said = capsys.readouterr().out
    assert "✗ TTFT, mean:" in said
    assert "+100%" in said
    assert main([str(result), "--against", str(slow), *against[3:]]) == 0  # faster
    assert main(against[:3]) == 0


def test_ci_fails_by_level(result: Path, tmp_path: Path) -> None:
    assert main([str(result), "--fail-on", "problem"]) == 0
    assert main([str(result), "--ttft-s", "0.0001", "--fail-on", "problem"]) == 3
    cut = tmp_path / "cut.json"
    cut.write_text(result.read_text(encoding="utf-8")[:5000], encoding="utf-8")
    assert main([str(result), str(cut)]) == 0
    assert main([str(result), str(cut), "--fail-on", "problem"]) == 3


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("--ttft-s 1 --tpot-s 0.05", 3),
        ("--ttft-s 7 --tpot-s 0.1", 0),
        ("--ttft-s 7 --quantile 0.999", 3),  # which nothing tells
        ("", 0),
    ],
)
def test_ci_fails_by_a_summary(words: str, status: int, tmp_path: Path) -> None:
    told = {"completed": 1000, "failed": 0, "duration": 100.0, "total_output_tokens": 250_000}
    times = {"mean_ttft_ms": 750, "p99_ttft_ms": 6100, "mean_tpot_ms": 41, "p99_tpot_ms": 92}
    path = tmp_path / "a.json"
    path.write_text(json.dumps(told | times), encoding="utf-8")
    assert main([str(path), "--fail-on", "problem", *words.split()]) == status


def test_other_files_of_a_folder_are_still_reported(
    result: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = result.parent
    (folder / "log.csv.gz").write_bytes(gzip.compress(log_csv(clean(count=300)).encode()))
    (folder / "access.log").write_text("GET / 200\nGET / 200\n", encoding="utf-8")
    (folder / "empty.json").write_text("", encoding="utf-8")
    assert main([str(folder)]) == 0
    said = capsys.readouterr()
    assert "2 runs, 500 requests" in said.out
    assert len(said.err.splitlines()) == 2
    assert "access.log" in said.err
    assert "an empty file" in said.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["none.json"], "none.json: No such file"),
        (["{file}", "--ttft-s", "-1"], "--ttft-s must be positive and finite"),
        (["{file}", "--quantile", "2"], "--quantile must be in (0, 1)"),
        (["{file}", "--columns", "when=x"], ""),
        (["{file}", "--out", "{file}"], "--out must be a folder"),
        (["{file}", "--out", "no/such/folder"], "--out must be a folder"),
        (["{file}", "--deployment", "none.toml"], "none.toml: No such file"),
    ],
)
def test_wrong_options_are_one_sentence(
    words: list[str], told: str, result: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main([word.replace("{file}", str(result)) for word in words])
    assert status == (2 if told else 0)
    assert told in capsys.readouterr().err


def test_a_deployment_is_held_against_the_step_model(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('model = "Llama-3.1-8B"\ndevice = "H100"\nplaces = 64\n', encoding="utf-8")
    out = tmp_path / "out"
    assert main([str(result), "--deployment", str(file), "--out", str(out)]) == 0
    assert "the step model says" in (out / "report.md").read_text(encoding="utf-8")
    file.write_text("ttft = 1\n", encoding="utf-8")
    assert main([str(result), "--deployment", str(file)]) == 2
    assert "mine.toml: a field of the deployment must be one of" in capsys.readouterr().err


def test_nothing_is_written_where_a_file_has_the_place_of_another(result: Path) -> None:
    out = result.parent / "out"
    (out / "report.md").mkdir(parents=True)
    assert main([str(result), "--out", str(out)]) == 2
    assert [one.name for one in out.iterdir()] == ["report.md"]


def test_help_names_every_tool() -> None:
    text = command_parser().format_help()
    for name in ("vLLM", "SGLang", "AIPerf", "GuideLLM", "inference-perf", "genai-perf"):
        assert name in text
    assert read_asked({"places": 8}).places == 8
    runs, problems = _read_files([])
    assert (runs, problems) == ([], [])
    with pytest.raises(ValueError, match="--against"):
        _compared_runs([], runs)
    assert _report_files


def test_a_deep_table_is_no_table(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "deep.toml"
    place.write_text(f"a = {'[' * 3000}{']' * 3000}")
    assert main([str(result), "--deployment", str(place)]) == 2
    assert capsys.readouterr().err.startswith(f"{place}: must be TOML, got ")


def test_a_copy_counts_once(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy.json"
    copy.write_bytes(result.read_bytes())
    main([str(result), str(copy)])
    told = f"{copy}: must be of other requests than {result}, got the same text\n"
    assert capsys.readouterr().err == told.replace(": must", " must", 1)


def test_a_file_counts_once(result: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again = str(result.parent / "." / ".." / result.parent.name / result.name)
    main([str(result), again])
    assert capsys.readouterr().err == f"{again}: must be given once, got it twice\n"
