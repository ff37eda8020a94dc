from __future__ import annotations

import json

import pytest
from serving_mathematics.planner.questions.load_tests import read_load_test
from serving_mathematics.report.findings.finding import Asked
from serving_mathematics.report.joining import joined
from serving_mathematics.report.reading import read_file
from serving_mathematics.report.registry import report
from serving_mathematics.report.report_command import _read_files

from .example_runs import REAL, clean, log_csv


def test_a_folder_of_inference_perf_is_its_stages() -> None:
    runs, problems = _read_files([str(REAL / "inference_perf")])
    assert problems == []
    assert [run.size for run in runs] == [12, 24]
    assert "config.yaml, validation.json" in " ".join(note for run in runs for note in run.notes)
    assert sum(run.gaps_s.size for run in runs) > 700
    for run in runs:  # what the tool says of a stage, and what its requests say
        assert run.columns["ttft_s"].mean() == pytest.approx(run.told["ttft_s"], rel=1e-6)
    told = report(runs, Asked()).findings
    assert not [one for one in told if one.name == "ladder" and one.level != "note"]  # by chance


def test_a_log_and_the_table_of_its_engine_are_one_run() -> None:
    log = read_file(log_csv(clean(count=200)), "log.csv")
    table = read_file("t,running,waiting\n" + "\n".join(f"{i},4,0" for i in range(30)), "t.csv")
    runs = joined([*log, *table])
    assert len(runs) == 1
    assert runs[0].series is not None
    scrapes = [read_file(f"vllm:num_preemptions_total {k}\n", f"{k}.txt")[0] for k in (3, 4, 9)]
    both = joined(scrapes)
    assert "fell" not in " ".join(both[0].notes)
    (back,) = joined(scrapes[::-1])
    assert back.notes[-1].startswith("preemptions fell between them: the engine began anew, or")
    assert [run.series.grown("preemptions") for run in both if run.series] == [6.0]


@pytest.mark.parametrize("name", ["vllm.json", "vllm_details.json"])
def test_a_list_of_results_is_read_and_those_beside_it_count_once(name: str) -> None:
    """As `vllm bench sweep serve` of 0.33 puts the runs of one setting together, beside each."""
    row = json.loads((REAL / name).read_text(encoding="utf-8"))
    later = json.loads(json.dumps(row).replace("[0.", "[1."))
    rows = [row, later | {"mean_ttft_ms": 1.5 * row["mean_ttft_ms"]}]
    single = [run for x in rows for run in read_file(json.dumps(x, indent=4), "run")]
    listed = read_file(json.dumps(rows, indent=4), "summary")
    assert [run.where for run in listed] == ["summary, run 1", "summary, run 2"]
    assert [run.told for run in listed] == [run.told for run in single]
    assert len(joined([*single, *listed])) == 2
    assert len(read_load_test(json.dumps(rows), "a")) == 2


def test_scrapes_of_two_engines_and_tables_of_two_are_no_row() -> None:
    pages = ("vllm:num_preemptions_total 5\n", "sglang:num_retracted_requests_total 7\n")
    tables = [f"t,running,waiting\n1,{k},0\n2,{k},0\n" for k in (3, 4)]
    for texts in (pages, tables):
        runs = [run for text in texts for run in read_file(text, "a")]
        assert len(joined(runs)) == 2
