"""The command as its users run it: rows in, rows out, and one line for what is wrong."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_mathematics.core.hardware.published_runs import read_lines
from serving_mathematics.machine.predictions import predict
from serving_mathematics.machine.predictions.predict import (
    ADDED,
    Answer,
    answer_rows,
    command_parser,
    error_lines,
    main,
    predict_table,
)
from serving_mathematics.machine.predictions.table_rows import Row, read_row

from tests.machine.predictions.deployed_rows import CELLS, GOOD, HEAD


def table(folder: Path, *lines: str, head: str = HEAD) -> str:
    path = folder / "rows.csv"
    path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return str(path)


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(list(arguments))
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out, err


def test_rows_keep_their_order_and_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [GOOD.replace(",64,", f",{users},") for users in (64, 4, 512, 1)]
    out = tmp_path / "out.csv"
    status, shown, err = told(capsys, table(tmp_path, *rows), "--out", str(out))
    assert (status, err) == (0, "")
    found = list(csv.DictReader(io.StringIO(out.read_text(encoding="utf-8"))))
    assert list(found[0]) == HEAD.split(",") + list(ADDED)
    assert [row["concurrency"] for row in found] == ["64", "4", "512", "1"]
    each = [float(row["predicted_tpot_s"]) for row in found]
    assert each[3] < each[1] < each[0] < each[2]
    assert shown.count("4 rows, error") == 2
    whole = [float(row["predicted_tokens_per_s_per_gpu"]) for row in found]
    first, each_one = float(found[0]["predicted_ttft_s"]), each[0]
    assert whole[0] == pytest.approx(
        64 * 0.9 * 1024 / (first + (0.9 * 1024 - 1) * each_one) / 8, rel=1e-4
    )


def test_a_device_that_was_never_measured_is_noted_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [GOOD.replace("b200_sxm", name).replace(",64,", f",{users},")
            for users in (1, 4) for name in ("mi300x", "mi355x", "h200_sxm")]  # fmt: skip
    status, _, err = told(capsys, table(tmp_path, *rows))
    assert (status, err.count("no run on")) == (0, 2)
    assert "row 1 and like it: no run on MI300X was measured" in err
    assert "row 2 and like it: no run on MI355X was measured" in err


def test_one_token_has_no_time_per_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole answer comes with the first token; a measured time per token is refused."""
    rows = ["Llama-3.1-8B,h100_sxm,vllm,bf16,1000,1,8,1,1,1,1,agg,,"]
    status, out, err = told(capsys, table(tmp_path, *rows))
    (found,) = csv.DictReader(io.StringIO(out))
    assert (status, err, found["predicted_tpot_s"]) == (0, "", "")
    rate = float(found["predicted_tokens_per_s_per_gpu"])
    assert rate * float(found["predicted_ttft_s"]) == pytest.approx(8, rel=1e-4)
    status, _, err = told(capsys, table(tmp_path, rows[0] + "0.01"))
    assert status == 2
    assert "row 1, column tpot_s: must be blank where osl is 1" in err
    status, out, _ = told(capsys, table(tmp_path, rows[0].replace("1000,1,", "1000,2,") + "0.01"))
    (found,) = csv.DictReader(io.StringIO(out))
    assert status == 0
    assert float(found["predicted_tpot_s"]) > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"model": "DeepSeek-R7"},
            "column model: model 'DeepSeek-R7' is not known; nearest: deepseek",
        ),
        ({"model": ""}, "column model: model must be named"),
        (
            {"system": "b20"},
            "column system: system 'b20' is not known; nearest: .*b200_sxm.*; or give plan its",
        ),
        ({"system": "V100"}, "column system: system 'V100' is too old for .* as a T4 has it\n$"),
        ({"backend": "vlm"}, "column backend: backend 'vlm' is not known; nearest: vllm"),
        ({"precision": "fp3"}, "column precision: precision 'fp3' is not known; known: bf16, fp8"),
        ({"isl": "nan"}, "column isl: must be a whole number from 1 to 1e[+]08, got nan"),
        ({"isl": "-5"}, "column isl: must be a whole number from 1 to 1e[+]08, got -5"),
        ({"osl": "0"}, "column osl: must be a whole number from 1"),
        ({"osl": "many"}, "column osl: must be a number, got 'many'"),
        ({"isl": ""}, "column isl: must be given, got nothing"),
        ({"concurrency": "1e300"}, "column concurrency: must be a whole number from 1 to 1e[+]06"),
        ({"concurrency": "2.5"}, "column concurrency: must be a whole number"),
        ({"isl": "1_000"}, "column isl: must be a number, got '1_000'"),
        ({"mode": "both"}, "column mode: must be agg or disagg, got 'both'"),
        ({"tpot_s": "-1"}, "column tpot_s: must be a number from 1e-05 to 2, got -1"),
        ({"tpot_s": "9"}, "column tpot_s: must be a number from 1e-05 to 2, got 9"),
        ({"prefill_tp": "4"}, "column prefill_tp: must be blank where mode is agg, or what the"),
        ({"decode_workers": "2"}, "column decode_workers: must be blank where mode is agg"),
        ({"shortest_share": "2"}, "column shortest_share: must be a number from 0.001 to 1"),
        ({"speculation": "magic"}, "column speculation: must be none or mtp, got 'magic'"),
        ({"draft_tokens": "3", "accepted_tokens": "9"}, "column accepted_tokens: .* from 1 to 4"),
        (
            {"speculation": "none", "draft_tokens": "3"},
            "column draft_tokens: must be 0 or blank where speculation is none, got 3",
        ),
        (
            {"speculation": "mtp", "draft_tokens": "0"},
            "column draft_tokens: must be 1 or more where speculation is mtp, got 0",
        ),
    ],
)
def test_a_wrong_cell_is_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, str],
    message: str,
) -> None:
    cells = CELLS | change
    head = ",".join(cells)
    path = table(
        tmp_path, ",".join(CELLS.get(n, "") for n in cells), ",".join(cells.values()), head=head
    )
    out = tmp_path / "out.csv"
    status, shown, err = told(capsys, path, "--out", str(out))
    assert (status, shown, err.count("\n"), out.exists()) == (2, "", 1, False)
    assert re.search(rf"rows.csv: row 2, {message}", err), err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tp": "3"}, "column tp: must be a divisor of the 128 heads of deepseek-ai/DeepSeek-R1"),
        ({"ep": "6"}, "column ep: must be a divisor of the 256 experts"),
        ({"pp": "90"}, "column pp: must be at most the 61 layers"),
        (
            {"tp": "2"},
            r"column tp: weights must be below the 189 GB of the B200 SXM for them \(4 devices",
        ),
        ({"isl": "1000000"}, "columns isl and osl: the sum must be at most 163840, the context of"),
        (
            {"model": "gpt-oss-20b", "precision": "bf16"},
            "column precision: must be blank, as the experts of openai/gpt-oss-20b were published",
        ),
        ({"model": "gpt-oss-20b-FP8", "precision": ""}, "column precision: must be blank, as the"),
    ],
)
def test_a_row_that_cannot_be_leaves_the_others_their_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, str], message: str
) -> None:
    bad = ",".join((CELLS | change).values())
    out = tmp_path / "out.csv"
    status, _, err = told(capsys, table(tmp_path, GOOD, bad, GOOD), "--out", str(out))
    lines = list(csv.reader(io.StringIO(out.read_text())))
    assert (status, lines[2][-3:]) == (3, ["", "", ""])
    assert lines[1] == lines[3]
    assert re.search(rf"rows.csv: row 2 left blank, {message}", err), err
    assert err.endswith("rows.csv: 1 of 3 rows left blank\n")


@pytest.mark.parametrize(
    ("column", "meant"),
    [("precison", "precision"), ("Back end", ""), ("concurency", ""), ("Tensor Parallel", "")],
)
def test_a_column_that_is_nearly_one_is_no_other(
    column: str, meant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Spelt otherwise it is read, and misspelt it is refused unless the right one is there too."""
    cells = {"model": "Llama-3.1-8B", "system": "H100", "isl": "9", "osl": "9", "conc": "8"}
    value = {"precison": "fp8", "Back end": "sglang", "concurency": "9", "Tensor Parallel": "3"}
    cells |= {column: value[column]}
    path = table(tmp_path, ",".join(cells.values()), head=",".join(cells))
    status, _, err = told(capsys, path)
    if meant:
        assert status == 2
        assert f"there is no column '{column}'; did you mean {meant}?" in err
    elif column == "Tensor Parallel":
        assert status == 3
        assert "column tp: must be a divisor of the 32 heads" in err
    elif column == "concurency":
        assert (status, "columns that are kept and not read: concurency" in err) == (0, True)
    else:
        assert (status, err) == (0, "")


def test_no_line_below_the_header_vanishes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = told(capsys, table(tmp_path, GOOD, f"#{GOOD}"))
    assert status == 2
    assert "row 2, must begin with no #, as lines above the header may" in err
    assert told(capsys, table(tmp_path, GOOD, head=f"# of May; mine\n\n{HEAD}"))[0] == 0


def test_the_size_of_a_file_is_said_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text(
        '{"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, '
        '"num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256}'
    )
    row = GOOD.replace("deepseek-ai/DeepSeek-R1", str(tmp_path)).replace("fp8", "")
    status, _, err = told(capsys, table(tmp_path, row))
    assert (status, "is read as 8.03·10⁹ parameters, published in bf16" in err) == (0, True)
    file = tmp_path / "config.json"
    file.write_text(file.read_text()[:-1] + ', "vision_config": {"depth": 32}}')
    _, _, err = told(capsys, table(tmp_path, row))
    assert "is read as 8.03·10⁹ parameters, without vision_config, published in bf16" in err


@pytest.mark.parametrize("hard", [False, True])
def test_no_input_is_written(
    hard: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = Path(table(tmp_path, GOOD))
    before, out = rows.read_bytes(), tmp_path / "other.csv"
    if hard:
        out.hardlink_to(rows)
    status, _, err = told(capsys, str(rows), "--out", str(out if hard else rows))
    assert (status, "--out must be no file that is read" in err) == (2, True)
    assert rows.read_bytes() == before


def test_rows_can_be_left_blank(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = GOOD.replace("b200_sxm", "tpu")
    status, out, err = told(capsys, table(tmp_path, GOOD, bad, GOOD), "--leave-blank")
    lines = list(csv.reader(io.StringIO(out)))
    assert status == 3
    assert lines[2][-3:] == ["", "", ""]
    assert lines[1] == lines[3]
    assert "row 2 left blank, column system" in err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must have a header"),
        (b"model,system\n", "column isl must be there"),
        (b"model,Model,system,isl,osl,concurrency\n", "column model must stand once"),
        (b"model,system,isl,osl,concurrency\na,b\n", "row 1, must have 5 cells, got 2"),
        (b"\xff\xfe\x00", "must be UTF-8"),
        (b'model,"sys\n', "must be comma-separated values"),
        (b"model;system\na;b\n", "must be separated by commas, got a header with semicolons"),
        (b"model,notes,notes\n", "the table must have one column 'notes', got it twice"),
        (b"\x1f\x8b\x08", "must be a whole gzip file"),
    ],
)
def test_a_wrong_table_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    (tmp_path / "rows.csv").write_bytes(content)
    status, _, err = told(capsys, str(tmp_path / "rows.csv"))
    assert (status, err.count("\n")) == (2, 1)
    assert message in err


def test_files_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = told(capsys, str(tmp_path / "none.csv"))
    assert (status, "cannot be read: No such file" in err) == (2, True)
    status, _, err = told(capsys, table(tmp_path, GOOD), "--out", str(tmp_path / "no" / "out.csv"))
    assert (status, "--out must be in a folder that exists" in err) == (2, True)
    status, _, err = told(capsys, table(tmp_path, GOOD), "--out", "")
    assert (status, "--out must name a file, got ''" in err) == (2, True)
    status, _, err = told(capsys)
    assert (status, "name a file of rows" in err) == (2, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.csv"]


def test_presets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = told(capsys, "--presets")
    assert status == 0
    assert {"deepseek-ai/DeepSeek-R1", "mi300x", "ml-energy"} <= set(out.splitlines())
    assert command_parser().parse_args(["--leave-blank", "-"]).leave_blank


def test_guessing_is_faster_and_what_it_yields_can_be_said() -> None:
    plain, mtp, lucky = (
        answer_rows([read_row(CELLS | change)])[0].per_token_s
        for change in (
            {}, {"speculation": "mtp"}, {"draft_tokens": "3", "accepted_tokens": "4"},
        )
    )  # fmt: skip
    assert lucky < mtp < plain
    assert lucky / mtp > 2.5 / 4


def test_errors_are_told_in_percent() -> None:
    (line,) = error_lines({"tpot_s": [(1.2, 1.0), (0.9, 1.0), (1.0, 1.0)], "ttft_s": []})
    assert line.startswith("tpot_s: 3 rows, error 10.0% in the median, 10.0% in the mean")
    assert line.endswith("signed median +0.0%")


def test_predictions_do_not_depend_on_the_rows_beside(capsys: pytest.CaptureFixture[str]) -> None:
    head = HEAD.split(",")[:12]
    rows = [
        GOOD.split(",")[:12],
        ["gpt-oss-120b", "h100", "vllm", "fp4", "8192", "1024", "32", "4", "1", "1", "1", "agg"],
    ]
    both, *_ = predict_table("rows", head, rows, False, sys.stderr)
    one, *_ = predict_table("rows", head, rows[1:], False, sys.stderr)
    assert both.splitlines()[2] == one.splitlines()[1]
    assert capsys.readouterr().err == ""


def test_the_published_table_is_answered_as_it_stands() -> None:
    """Rows as others have them, without what only the rules of reading know."""
    lines = [line for line in read_lines() if line["mode"] == "agg"][::7]
    rows = []
    for line in lines:
        cells = {
            name: line[name] for name in ("model", "system", "backend", "precision", "isl", "osl")
        }
        cells |= {"concurrency": line["concurrency"] or line["batch"], "tp": line["tp"]}
        cells |= {"dp": line["dp"], "ep": line["ep"]}
        with contextlib.suppress(ValueError):  # widths that only `moe_tp` tells
            rows.append((read_row(cells), float(line["tpot_ms"]) / 1e3))
    answers = answer_rows([row for row, _ in rows])
    pairs = [(one.per_token_s, each) for one, (_, each) in zip(answers, rows, strict=True)]
    assert len(pairs) >= 0.99 * len(lines)
    errors = sorted(abs(predicted / measured - 1) for predicted, measured in pairs)
    assert errors[len(errors) // 2] < 0.13


@settings(max_examples=60, deadline=None)
@given(
    st.fixed_dictionaries({name: st.text(max_size=6) for name in ("isl", "tp", "dp", "ep", "pp")})
)
def test_any_cells_are_answered_or_refused_by_column(cells: dict[str, str]) -> None:
    told = ""
    try:
        assert answer_rows([read_row(CELLS | cells)])[0].per_token_s > 0
    except ValueError as problem:
        told = str(problem)
    assert told == "" or told.startswith("column")


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 6])
def test_chunks_are_seams_that_nobody_sees(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [GOOD.replace(",64,", f",{users},").split(",") for users in (64, 4, 512, 1, 32)]
    whole = predict_table("rows", HEAD.split(","), lines, False, sys.stderr)
    sizes, done = [], []

    def counted(rows: list[Row]) -> list[Answer]:
        sizes.append(len(rows))
        return answer_rows(rows)

    monkeypatch.setattr(predict, "CHUNK", chunk)
    monkeypatch.setattr(predict, "_told", lambda *args: done.append(args[0]) or 0.0)
    monkeypatch.setattr(predict, "answer_rows", counted)
    assert predict_table("rows", HEAD.split(","), lines, False, sys.stderr) == whole
    assert sizes == [min(chunk, 5 - begin) for begin in range(0, 5, chunk)]
    assert done[5:] == np.cumsum(sizes).tolist()


def test_a_cache_without_room_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A first token that waits for memory is no first token of the engine."""
    full = "Llama-3.1-70B,h200_sxm,vllm,bf16,1154,211,16,1,1,1,1,agg,,"
    told = "row 1 and like it: memory holds fewer sequences at once than the concurrency"
    for width, said in (("1", True), ("2", False)):
        row = full.replace(",16,1,1", f",16,{width},1")
        assert main([table(tmp_path, row)]) == 0
        assert (told in capsys.readouterr().err) == said
