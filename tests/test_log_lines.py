"""Lines out of what collectors wrap around them: a sample in the form of each, and other texts."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.report.joining import joined
from serving_mathematics.report.reading import read_file
from serving_mathematics.support.log_lines import unwrapped

VLLM = (  # of 0.33 and 0.34
    "INFO 10-15 00:02:{:02} [loggers.py:9] Engine 000: Avg prompt throughput: 0.0 tokens/s, "
    "Avg generation throughput: 843.6 tokens/s, Running: {} reqs, Waiting: 2 reqs, "
    "GPU KV cache usage: 94.8%, Prefix cache hit rate: 42.4%"
)
SGLANG = (  # of 0.5.23
    "[2026-10-15 00:02:{:02} TP0] Decode batch, #running-req: {}, #token: 9, token usage: 0.95, "
    "cuda graph: True, gen throughput (token/s): 84.39, #queue-req: 2"
)
PRINTED = [
    "============ Serving Benchmark Result ============",
    "Successful requests:                     100",
    "Benchmark duration (s):                  9.42",
    "Mean TTFT (ms):                          120.00",
    "==================================================",
]
ASKED = [
    json.dumps({"time": 1_700_000_000.5 + i, "ttft_ms": 100 + i, "latency_ms": 900, "id": f"{i}"})
    for i in range(6)
]


def at(second: int) -> str:
    return f"2026-10-15T00:02:{second:02}.756689123Z"


def table(lines: list[str]) -> str:
    rows = [["@timestamp", "@message"]]
    rows += [[f"2026-10-15 00:02:{i:02}.000", line] for i, line in enumerate(lines)][::-1]
    written = io.StringIO()
    csv.writer(written).writerows(rows)
    return written.getvalue()


def each(form: Callable[[int, str], object], *, turned: bool = False) -> Callable[..., str]:
    """A wrapping of lines one by one, objects as lines of JSON."""

    def wrapped(lines: list[str]) -> str:
        made = [form(i, line) for i, line in enumerate(lines)][:: -1 if turned else 1]
        return "\n".join(x if isinstance(x, str) else json.dumps(x) for x in made) + "\n"

    return wrapped


def listed(form: Callable[[list[dict[str, object]]], object]) -> Callable[..., str]:
    """A wrapping of all lines in one document, the newest first."""

    def wrapped(lines: list[str]) -> str:
        rows = [
            {"timestamp": 1_760_486_520_000 + 1000 * i, "message": x} for i, x in enumerate(lines)
        ]
        return json.dumps(form(rows[::-1]), indent=2)

    return wrapped


FORMS = {
    "json-file": each(lambda i, x: {"log": f"{x}\n", "stream": "stderr", "time": at(i)}),
    "CRI": each(lambda i, x: f"{at(i)} stdout F {x}"),
    "kubectl --timestamps": each(lambda i, x: f"{at(i)} {x}"),
    "kubectl --prefix": each(lambda _, x: f"[pod/vllm-0/vllm] {x}"),
    "stern": each(lambda _, x: f"vllm-7d9f8b6c54-x2x4z vllm {x}"),
    "stern -t": each(lambda i, x: f"vllm-0 vllm {at(i)} {x}"),
    "journalctl": each(lambda i, x: f"Oct 15 00:02:{i:02} gpu1 vllm[123]: {x}"),
    "journalctl -o short-iso": each(
        lambda i, x: f"2026-10-15T00:02:{i:02}+0000 gpu1 vllm[123]: {x}"
    ),
    "journalctl -o json": each(
        lambda i, x: {
            "__REALTIME_TIMESTAMP": f"17604865{20 + i}000000",
            "MESSAGE": x,
            "_PID": "1",
        }
    ),
    "compose": each(lambda _, x: f"\x1b[33mvllm-1  | \x1b[0m{x}"),
    "logcli": each(lambda i, x: f'{at(i)} {{pod="vllm-0", app="a"}} {x}', turned=True),
    "logcli -o jsonl": each(
        lambda i, x: {"labels": {"pod": "vllm-0"}, "line": x, "timestamp": at(i)}, turned=True
    ),
    "aws logs tail": each(lambda i, x: f"{at(i)} vllm/vllm/3f2a {x}"),
    "vLLM's json in CRI": each(
        lambda i, x: (
            f"{at(i)} stdout F "
            + json.dumps({"asctime": "10-15 00:02:00", "levelname": "INFO", "message": x})
        )
    ),
    "Loki": listed(
        lambda rows: {
            "status": "success",
            "data": {
                "resultType": "streams",
                "result": [
                    {
                        "stream": {"pod": "vllm-0"},
                        "values": [[f"{x['timestamp']}000000", x["message"]] for x in rows],
                    }
                ],
            },
        }
    ),
    "filter-log-events": listed(lambda rows: {"events": rows, "searchedLogStreams": []}),
    "gcloud": listed(
        lambda rows: [
            {"textPayload": x["message"], "timestamp": x["timestamp"], "severity": "INFO"}
            for x in rows
        ]
    ),
    "Logs Insights": table,
}


@pytest.mark.parametrize("form", FORMS)
def test_each_wrapping_is_taken_off(form: str) -> None:
    for line in (VLLM, SGLANG):
        lines = ["Started server process [1]", *(line.format(10 * k, 40 + k) for k in range(4))]
        (run,) = read_file(FORMS[form](lines), "a.log")
        (plain,) = read_file("\n".join(lines), "a.log")
        assert run.series is not None
        assert plain.series is not None
        assert run.tool == plain.tool
        assert run.series.level("running").tolist() == [40.0, 41.0, 42.0, 43.0]
        assert run.series.level("cache").tolist() == plain.series.level("cache").tolist()
        assert (run.series.time_s[1:] > run.series.time_s[:-1]).all()
    (told,) = read_file(FORMS[form](PRINTED), "a.log")
    assert (told.told["completed"], told.told["ttft_s"]) == (100.0, 0.12)
    (log,) = read_file(FORMS[form](ASKED), "a.log")
    assert log.columns["ttft_s"].tolist() == pytest.approx([0.1 + i / 1000 for i in range(6)])


@pytest.mark.parametrize(
    "prefix",
    [
        "[pod/vllm-{}/vllm] ",
        "vllm-{}  | ",
        "vllm-{} vllm ",
        "2026-10-15T00:02:03+0000 gpu{} vllm[5]: ",
        "\x1b[36m(ServeReplica:llm:LLMServer pid=12, ip=10.0.0.{})\x1b[0m ",
    ],
)
def test_engines_of_several_places_are_apart(prefix: str) -> None:
    """Two of which each runs 40 were one of which 40 run, at twice as many moments."""
    lines = [prefix.format(i) + VLLM.format(10 * k, 40) for k in range(3) for i in (1, 2)]
    (run,) = read_file("\n".join(lines), "a.log")
    assert run.series is not None
    assert run.series.level("running").tolist() == [80.0] * 3
    assert [own["running"].tolist() for own in run.series.engines.values()] == [[40.0] * 3] * 2


def test_streams_of_loki_are_one_after_another() -> None:
    """It answers with each stream by itself, the newest first."""
    streams = [
        {
            "stream": {"pod": f"vllm-{i}"},
            "values": [
                [f"17604865{10 * k + i:02}000000000", VLLM.format(10 * k, 40 + k)]
                for k in (2, 1, 0)
            ],
        }
        for i in (0, 1)
    ]
    answer = {"status": "success", "data": {"resultType": "streams", "result": streams}}
    (run,) = read_file(json.dumps(answer), "a.json")
    assert run.series is not None
    assert run.series.level("running").tolist() == [80.0, 82.0, 84.0]
    assert sorted(run.series.engines) == ["vllm-0", "vllm-1"]


def test_ranks_of_one_place_have_its_name_no_more() -> None:
    lines = [f"[pod/vllm-0/vllm] {VLLM.format(0, 4)}".replace("000:", f"00{k}:") for k in (0, 1)]
    (run,) = read_file("\n".join(lines), "a.log")
    assert run.series is not None
    assert sorted(run.series.engines) == ["0", "1"]


def test_results_of_two_places_are_two() -> None:
    one, other = PRINTED, [x.replace("120.00", "240.00") for x in PRINTED]
    lines = [
        f"bench-{i}  | {x}" for both in zip(one, other, strict=True) for i, x in enumerate(both)
    ]
    runs = joined(read_file("\n".join(lines), "a.log"))
    assert [run.told["ttft_s"] for run in runs] == [0.12, 0.24]


def test_months_without_a_year_stay_in_their_order() -> None:
    """As vLLM's JSON has them, over a new year."""
    rows = [
        {"asctime": f"{day} 23:59:{k}0", "message": VLLM.format(0, 4 + k)}
        for k, day in enumerate(("12-31", "01-01"))
    ]
    (run,) = read_file("\n".join(map(json.dumps, rows)), "a.log")
    assert run.series is not None
    assert run.series.level("running").tolist() == [4.0, 5.0]


def test_lines_of_one_moment_stay_in_their_order() -> None:
    rows = [{"textPayload": x, "timestamp": at(0)} for x in PRINTED]
    for listed in (rows, [*rows[::-1], {"textPayload": "before", "timestamp": at(0)[:-11] + "Z"}]):
        told = unwrapped(json.dumps(listed))[0].split("\n")
        assert [x for x in told if x and x != "before"] == PRINTED
    stamps = ["01.7Z", "01.75Z", "01.8Z"]
    docker = [{"log": f"{x}\n", "stream": "stdout", "time": at(0)[:-12] + x} for x in stamps]
    assert unwrapped("\n".join(map(json.dumps, docker)))[0].split() == stamps
    moment = {"ts": 1_700_000_000.5, "msg": PRINTED[0]}
    assert unwrapped(json.dumps(moment))[1].startswith("2023-11-14T22:13:20.5 =")


def test_long_lines_that_were_cut_are_whole() -> None:
    first, last = ASKED[0][:30], ASKED[0][30:]
    docker = [{"log": first, "stream": "stdout", "time": at(0)}]
    docker += [{"log": f"{last}\n", "stream": "stdout", "time": at(1)}]
    assert unwrapped("\n".join(map(json.dumps, docker)))[0] == f"{ASKED[0]}\n"
    assert unwrapped(f"{at(0)} stdout P {first}\n{at(1)} stdout F {last}\n")[0] == f"{ASKED[0]}\n"


@pytest.mark.parametrize(
    "text",
    [
        "t,ttft_ms\n1,100\n",
        "a | b | c\n1 | 2 | 3\n",
        "vllm-1  | a\nb\nc\n",
        "\n".join(json.dumps(json.loads(x) | {"message": "", "q": "Running: "}) for x in ASKED),
        "\n".join(json.dumps(json.loads(x) | {"msg": "done", "q": '{"a": 1}'}) for x in ASKED),
        '{"data": {"result": []}, "status": "success", "x": "{\\"a"}',
        '{"events": 5, "x": "{\\"a"}',
        '{"a": "#running-req: "',
    ],
)
def test_what_is_not_wrapped_stays(text: str) -> None:
    assert unwrapped(text) == (text, text)


def test_a_containers_log_is_not_a_trace() -> None:
    """Each line of it was taken as a request."""
    text = FORMS["json-file"](["INFO:     Started", "GET /health 200"])
    with pytest.raises(ValueError, match=r"row 1 must be a log of requests, .* got INFO: "):
        read_file(text, "a")


@given(
    st.lists(
        st.text('a0 {}[]|:"\\,é\u2028', max_size=30) | st.sampled_from([VLLM, *PRINTED, *ASKED]),
        max_size=5,
    ),
    st.sampled_from([form for form in FORMS if form != "vLLM's json in CRI"]),
)
def test_any_lines_are_unwrapped_or_stay(lines: list[str], form: str) -> None:
    told, stamped = unwrapped(FORMS[form](lines))
    if told != stamped:
        assert all(line.strip() in told for line in lines)
        assert all(line.strip() in stamped for line in lines)
