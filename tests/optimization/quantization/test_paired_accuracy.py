"""The interval for models that answer the same questions: symmetry, limits, and refusals."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.optimization.quantization.paired_accuracy import (
    Change,
    paired_change,
)

from builder import ROOT

PAGE = (ROOT / "docs/optimization/quantization.md").read_text(encoding="utf-8")


@given(st.integers(0, 50), st.integers(0, 50), st.integers(100, 5000))
def test_interval_holds_the_share_and_is_symmetric(lost: int, gained: int, questions: int) -> None:
    change, other = paired_change(lost, gained, questions), paired_change(gained, lost, questions)
    assert change.share == (gained - lost) / questions
    assert change.low <= change.share * questions / (questions + 2) <= change.high
    assert (other.low, other.high) == pytest.approx((-change.high, -change.low))
    assert -1 <= change.low < change.high <= 1


def test_limits() -> None:
    assert isinstance(paired_change(1, 0, 1), Change)
    assert paired_change(1, 0, 1).low == -1.0
    assert paired_change(0, 1, 1).high == 1.0
    assert paired_change(0, 0, 10**9).high < 1e-8
    wide, narrow = paired_change(0, 5, 100), paired_change(0, 50, 1000)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_the_pages_lines_count_lost_and_gained(tmp_path: Path) -> None:
    """Of a group of tasks, each numbers its rows from 0; of a run done twice, the last counts."""
    answers = {"before": [1, 1, 0, 1, 0], "after": [0, 1, 1, 0, 0]}
    for model, right in answers.items():
        folder = tmp_path / "answers" / model / f"org__{model}"
        folder.mkdir(parents=True)
        first, other = right[:3], right[3:]
        for name, values in (
            ("a_task_2026-01-01T00-00-00.5", first[::-1]),
            ("a_task_2026-01-02T00-00-00.5", first),
            ("another_2026-01-01T00-00-00.5", other),
        ):
            rows = [
                json.dumps({"doc_id": one, "filter": "none", "exact_match": float(value)})
                for one, value in enumerate(values)
            ]
            (folder / f"samples_{name}.jsonl").write_text("\n".join(rows) + "\n")
    fence = re.search(r"```python\n(import json.*?)```", PAGE, re.DOTALL)
    assert fence
    command = [sys.executable, "-c", fence[1], *answers]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "2 lost, 1 gained of 5\n"
    assert "--output_path" in PAGE  # without it the harness refuses --log_samples
