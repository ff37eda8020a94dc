"""The server with its model: the official client, bad input of every kind, too much of it, clients
that vanish or do not read, and the ends of both processes.

Every request that is sent is counted, and each must end in a status, or in a stream whose end says
how it ended. No test asserts milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from serving_mathematics.engine import engine_server
from serving_mathematics.engine.completion_schema import CHARACTERS, MODEL, RefusedRequest
from serving_mathematics.engine.engine_process import EngineProcess, Part, _Call
from serving_mathematics.engine.engine_server import (
    BODY_BYTES,
    STATUS,
    AnswerStream,
    Meters,
    _timed,
    command_parser,
    create_app,
    main,
)
from serving_mathematics.engine.token_engine import Settings, model_path

from ..builder.project import is_alive, wait_until
from ..profiles import THOROUGH, TODAY, its_turn, todays
from .conftest import served_by

SMALL = ("--max-sequences", "2", "--queue", "4", "--kv-blocks", "200", "--context-tokens", "6144")
SHORT: dict[str, Any] = {"prompt": "Once upon a time", "max_tokens": 4, "ignore_eos": True}
LONG: dict[str, Any] = SHORT | {"max_tokens": 5000}
PLACES = 6


@pytest.fixture(scope="module")
def server(small_model: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server with two places and a queue of four, and its address; each test leaves it idle, and
    when it is killed it leaves no engine behind."""
    with served_by(*SMALL, "--silent-s", "3", "--model", str(small_model)) as served:
        yield served
        process, _ = served
        child = child_of(process)
        process.kill()
        process.wait(60)
        wait_until(lambda: not is_alive(child), "the engine to end", 60)


@pytest.fixture(scope="module")
def base(server: tuple[subprocess.Popen[str], str]) -> str:
    """The address of that server."""
    return server[1]


@pytest.fixture
def http(base: str) -> Iterator[httpx.Client]:
    """A client; before and after, nothing is inside the server."""
    with client_of(base) as client:
        wait_until_idle(client)
        yield client
        wait_until_idle(client)


def client_of(base: str) -> httpx.Client:
    """One that keeps a connection for less time than its server does, which ends one that is silent
    for three seconds: asked on it in that moment, there is no answer."""
    limits = httpx.Limits(keepalive_expiry=1)
    return httpx.Client(base_url=base, timeout=120, trust_env=False, limits=limits)


def metric(http: httpx.Client, name: str, **labels: str) -> float:
    """One number of /metrics, read by Prometheus' own parser; 0 when it is not there."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(http.get("/metrics").text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def wait_until_idle(http: httpx.Client) -> None:
    wait_until(lambda: not inside(http), "every place to be free", 60)


def inside(http: httpx.Client) -> float:
    return metric(http, "serving_requests_running") + metric(http, "serving_requests_waiting")


def accepted(http: httpx.Client) -> float:
    """Requests that the engine knows or has known."""
    return inside(http) + metric(http, "serving_requests_total")


def outcome(http: httpx.Client, ask: dict[str, Any]) -> str:
    """How a request ended: its status, or what a stream ended with."""
    response = http.post("/v1/completions", json=ask)
    if response.status_code != 200 or not ask.get("stream"):
        if response.status_code == 503:
            assert 1 <= int(response.headers["retry-after"]) <= 3
        assert response.json()
        return str(response.status_code)
    events = [line[6:] for line in response.text.split("\n") if line.startswith("data: ")]
    assert events
    if events[-1] == "[DONE]":
        return "done"
    return str(json.loads(events[-1])["error"]["code"])


async def outcomes(base: str, asks: list[dict[str, Any]]) -> Counter[str]:
    """How requests that are sent at the same time end."""
    with (
        httpx.Client(
            base_url=base, timeout=60, trust_env=False, limits=httpx.Limits(max_connections=None)
        ) as http,
        ThreadPoolExecutor(len(asks)) as threads,
    ):
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(threads, outcome, http, ask) for ask in asks]
        return Counter(await asyncio.gather(*calls))


@its_turn(0)
def test_the_official_client_gets_what_it_asks_for() -> None:
    """From the whole model."""
    with served_by(*SMALL) as (_, base), client_of(base) as http:
        ask_as_the_official_client(base)
        assert metric(http, "serving_requests_total", outcome="stop") >= 3
        count = metric(http, "serving_time_to_first_token_seconds_count")
        assert count == metric(http, "serving_request_seconds_count") >= 6
        assert metric(http, "serving_time_per_output_token_seconds_count") >= 6
        assert metric(http, "serving_generated_tokens") > 12


def ask_as_the_official_client(base: str) -> None:
    import openai  # which takes long, and only here

    with openai.OpenAI(
        base_url=f"{base}/v1",
        api_key="none",
        max_retries=0,
        http_client=httpx.Client(trust_env=False),
    ) as client:
        assert [model.id for model in client.models.list().data] == [MODEL]
        assert client.models.retrieve(MODEL).id == MODEL
        question: Any = [{"role": "user", "content": "What is the capital of France?"}]
        whole = client.chat.completions.create(model=MODEL, messages=question, temperature=0)
        assert "Paris" in (whole.choices[0].message.content or "")
        assert whole.choices[0].finish_reason == "stop"
        assert whole.usage
        assert whole.usage.prompt_tokens == 37
        chunks = list(
            client.chat.completions.create(
                model=MODEL,
                messages=question,
                temperature=0,
                stream=True,
                stream_options={"include_usage": True},
            )
        )
        streamed = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert streamed == whole.choices[0].message.content
        assert chunks[-2].choices[0].finish_reason == "stop"
        assert chunks[-1].usage == whole.usage
        drawn = [
            client.completions.create(model=MODEL, prompt="One two", max_tokens=12, seed=seed)
            for seed in (3, 3, 4)
        ]
        assert drawn[0].choices[0].text == drawn[1].choices[0].text
        assert drawn[0].choices[0].text != drawn[2].choices[0].text
        text = client.completions.create(
            model=MODEL, prompt="The capital of France is", temperature=0, max_tokens=16
        )
        assert text.choices[0].finish_reason == "length"
        cut = client.completions.create(
            model=MODEL, prompt="The capital of France is", temperature=0, stop="\n", max_tokens=16
        )
        assert cut.choices[0].finish_reason == "stop"
        assert cut.choices[0].text == text.choices[0].text.partition("\n")[0]
        with pytest.raises(openai.BadRequestError, match="max_tokens"):
            client.completions.create(model=MODEL, prompt="One", max_tokens=-1)
        with pytest.raises(openai.NotFoundError):
            client.embeddings.create(model=MODEL, input="One")


JSON = "application/json"
BAD: list[tuple[str, bytes, str, int]] = [
    ("nothing", b"", JSON, 400),
    ("half an object", b'{"prompt": "a"', JSON, 400),
    ("a list", b"[]", JSON, 400),
    ("not UTF-8", b'{"prompt": "\xff\xfe"}', JSON, 400),
    ("half a surrogate", b'{"prompt": "\\ud800"}', JSON, 400),
    ("deeply nested", b"[" * 60_000, JSON, 400),
    ("a huge number", b'{"prompt": "a", "max_tokens": ' + b"9" * 5000 + b"}", JSON, 400),
    ("unknown field", b'{"prompt": "a", "foo": 1}', JSON, 400),
    ("oversized prompt", b'{"prompt": "' + b"a " * 60_000 + b'"}', JSON, 400),
    ("more than the context", b'{"prompt": "' + b"word " * 7000 + b'"}', JSON, 400),
    ("answer beyond the context", b'{"prompt": "a", "max_tokens": 6144}', JSON, 400),
    ("a body too large", b'{"prompt": "' + b"a" * BODY_BYTES + b'"}', JSON, 413),
    ("no JSON", b"prompt=a", "application/x-www-form-urlencoded", 415),
]


def test_bad_input_is_answered_with_its_reason(http: httpx.Client) -> None:
    """Tried, and answered with the right status, all of them; the next request is served."""
    statuses, computed = [], metric(http, "serving_engine_steps")
    for _, body, kind, _ in BAD:
        response = http.post("/v1/completions", content=body, headers={"content-type": kind})
        assert response.json()["error"]
        statuses.append(response.status_code)
    assert statuses == [status for *_, status in BAD]
    for path, method, status in (
        ("/v1/nothing", "GET", 404),
        ("/v1/completions", "GET", 405),
        ("/health", "DELETE", 405),
    ):
        refused = http.request(method, path)
        assert refused.status_code == status
        assert ("allow" in refused.headers) == (status == 405)
    for path in ("/health", "/v1/models", f"/v1/models/{MODEL}", "/metrics"):
        told = http.head(path)  # as one asks who only wants to know whether it is there
        assert (told.status_code, told.content) == (200, b"")
    empty = http.post("/v1/chat/completions", json={"messages": []})
    assert empty.status_code == 400
    assert metric(http, "serving_engine_steps") == computed  # none of it cost a step
    assert http.post("/v1/completions", json=SHORT).json()["usage"]["completion_tokens"] == 4


def test_usage_in_every_part_counts_up(http: httpx.Client) -> None:
    options = {"continuous_usage_stats": True}
    response = http.post(
        "/v1/completions", json=SHORT | {"stream": True, "stream_options": options}
    )
    events = [json.loads(line[6:]) for line in response.text.split("\n")[:-3] if line]
    counts = [event["usage"]["completion_tokens"] for event in events]
    assert counts == sorted(counts)
    assert counts[-1] == 4


def raw(base: str, data: bytes) -> socket.socket:
    host, port = base.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    connection.sendall(data)
    return connection


def request_bytes(ask: dict[str, Any], length: int = 0) -> bytes:
    body = json.dumps(ask).encode()
    head = (
        "POST /v1/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
        f"content-length: {length or len(body)}\r\n\r\n"
    )
    return head.encode() + body


def test_clients_that_vanish_stop_the_computation(base: str, http: httpx.Client) -> None:
    """Forty ask for 5,000 tokens, streamed or whole, and reset the connection: before the answer,
    or in its middle."""
    before = metric(http, "serving_generated_tokens")
    for turn in range(40):
        ask = LONG | {"stream": turn % 2 == 0}
        connection = raw(base, request_bytes(ask))
        if turn % 4 == 0:
            assert connection.recv(100)
        elif turn % 4 == 1:
            time.sleep(0.05)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    wait_until_idle(http)
    assert metric(http, "serving_generated_tokens") - before < 0.1 * 40 * LONG["max_tokens"]


def test_a_client_that_does_not_read_holds_nobody_up(base: str, http: httpx.Client) -> None:
    with raw(base, request_bytes(SHORT | {"max_tokens": 60, "stream": True})):
        assert http.post("/v1/completions", json=SHORT).status_code == 200
        wait_until_idle(http)  # its whole answer lies in buffers


def test_ten_times_the_load_is_answered_or_refused(base: str, http: httpx.Client) -> None:
    asks = [SHORT | {"max_tokens": 100, "stream": n % 2 == 0} for n in range(10 * PLACES)]
    ends = asyncio.run(outcomes(base, asks))
    assert set(ends) == {"200", "done", "503"}
    assert ends["200"] + ends["done"] >= PLACES
    assert ends.total() == 10 * PLACES
    assert metric(http, "serving_requests_total", outcome="refused") >= ends["503"]


def resident_bytes(process: subprocess.Popen[str]) -> int:
    """Of a process and its child."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    pages = [
        int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in (process.pid, *children)
    ]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE")


def test_deadline_memory_and_the_end_by_sigterm(small_model: Path) -> None:
    """One server: the deadline ends an answer, memory stays flat over bad and good requests, which
    is looked at every third day, and SIGTERM lets what was accepted end."""
    options = (*SMALL, "--model", str(small_model), "--deadline-s", "1.5", "--drain-s", "0.5")
    with served_by(*options) as (process, base):
        with client_of(base) as http:
            assert http.get("/health").json() == {"status": "ready"}
            late = asyncio.run(outcomes(base, [LONG, LONG | {"stream": True}]))
            assert late == {"504": 2}
            for turn in range(max(todays([450, 20, 20]))):
                if turn == 200:  # by then the allocator has what it needs, but for an arena
                    held = resident_bytes(process)
                assert outcome(http, SHORT | {"max_tokens": turn % 2}) in ("200", "400")
            assert turn < 200 or resident_bytes(process) - held < 36e6
            assert metric(http, "serving_requests_total", outcome="late") == 2

        async def stopped() -> Counter[str]:
            asks = [SHORT | {"stream": n % 2 == 0} for n in range(4)]
            asks += [LONG | {"stream": n % 2 == 0} for n in range(2)]
            with client_of(base) as http:
                before = accepted(http)
                ends = asyncio.create_task(outcomes(base, asks))
                while accepted(http) < before + len(asks):
                    await asyncio.sleep(0.02)
            process.send_signal(signal.SIGTERM)
            return await ends

        ends = asyncio.run(stopped())
        assert ends.total() == 6
        assert set(ends) <= {"200", "done", "503", "504"}
        assert process.wait(60) == 0


TINY = [5e-324, 1e-310, 7e-46, 1e-45, 3e-42, 1e-40, 1.2e-38, 1e-30, 1e-10, 9.99e-6, 1e-5, 1e-4]
EXTREMES: list[tuple[str, list[Any]]] = [
    ("temperature", [*TINY, 0, -0.0, 0.01, 2, 2.0000000000000004, 1e308, -5e-324]),
    ("top_p", [*TINY, 2e-5, 1 / 49_152, 2.1e-5, 1 - 2**-53, 0.9999999999, 1, 0, 1 + 2**-52]),
    ("seed", [0, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, -1, 1.0]),
    ("max_tokens", [1, 2, 100, 6143, 6144, 1 << 20, 2**31, 2**63, 2**64]),
    ("stop", ["\0", "\ufffe", "😀" * 16, "�", ["a", "b", "c", "d"], [" "] * 4, "a" * 64, []]),
    (
        "prompt",
        ["\0", "\ufffe", "\u202e", "<|im_end|>", " " * 3000, "\n", "a\u0301" * 500, "🧑‍🚀" * 90],
    ),
    ("prompt", [[0], [49_151], [2], [0] * 600, list(range(300)), [1, 2] * 400]),
    ("frequency_penalty", [0.0, -0.0, 5e-324, 2]),
    ("presence_penalty", [0, -0.0, 1e-300, -2]),
    ("repetition_penalty", [1.0, 1 + 2**-52, 0, 1e308]),
    ("n", [1, 1.0, 0, 2**63]),
    ("best_of", [1, 1.0, 0]),
    ("logprobs", [False, 0, True]),
    ("user", ["", "\0" * 256, "a" * 257]),
    ("stream_options", [{}, {"include_usage": True}, {"continuous_usage_stats": True}]),
    ("ignore_eos", [True, False]),
    ("echo", [False, True]),
]


def extreme_asks() -> Iterator[tuple[str, dict[str, Any]]]:
    """Paths and bodies: a third of the extremes each day, with ordinary sampling or with an extreme
    of it, whole or streamed, and texts as conversations, too. In the thorough run extremes of any
    fields together, others each day."""
    common: dict[str, Any] = {"max_tokens": 3, "prompt": "Hi"}
    sampling = ({}, {"temperature": 7e-46}, {"temperature": 2, "top_p": 1e-45})
    changes = [
        {"stream": place % 2 == 0} | sampling[place % 3] | {name: value}
        for name, values in EXTREMES
        for place, value in todays([*enumerate(values)])
    ]
    rng = random.Random(TODAY)
    for _ in range(300 if THOROUGH else 0):
        changes.append({name: rng.choice(values) for name, values in rng.sample(EXTREMES, 5)})
    for change in changes:
        ask = common | change
        if ask["max_tokens"] > 100:
            ask["stop"] = ask.get("stop") or "e"  # which comes soon
        yield "completions", ask
        if isinstance(ask["prompt"], str) and "prompt" in change:
            text = ask.pop("prompt")
            yield "chat/completions", ask | {"messages": [{"role": "user", "content": text}]}


def test_no_value_of_any_field_reaches_another_request(base: str, http: httpx.Client) -> None:
    """A status that is true for each, and meanwhile another client gets the same text every
    time."""
    witness = SHORT | {"max_tokens": 30, "temperature": 0}
    expected = http.post("/v1/completions", json=witness).json()["choices"][0]["text"]
    done, texts = [], list[str]()

    def watch() -> None:
        with client_of(base) as other:
            while not done:
                answer = other.post("/v1/completions", json=witness)
                texts.append(answer.json()["choices"][0]["text"])

    with ThreadPoolExecutor(1) as threads:
        watching = threads.submit(watch)
        try:
            for path, ask in extreme_asks():
                answer = http.post(f"/v1/{path}", json=ask)
                assert answer.status_code in (200, 400), (ask, answer.text)
                if answer.status_code == 200 and ask.get("stream"):
                    assert answer.text.endswith("data: [DONE]\n\n"), (ask, answer.text)
        finally:
            done.append(True)
        watching.result()
    assert set(texts) == {expected}
    assert metric(http, "serving_requests_total", outcome="failed") == 0
    assert metric(http, "serving_engine_restarts") == 0


def test_without_a_seed_each_answer_is_another(http: httpx.Client) -> None:
    ask = SHORT | {"max_tokens": 20}
    answers = [http.post("/v1/completions", json=ask).json()["choices"] for _ in range(3)]
    assert len({answer[0]["text"] for answer in answers}) == 3


def test_what_is_refused_before_the_application_is_counted(base: str, http: httpx.Client) -> None:
    for size, kind, fields, status in (
        (BODY_BYTES + 1, JSON, 0, b"413"),
        (2, "text/plain", 0, b"415"),
        (2, JSON, 101, b"431"),
        (2, JSON, 2000, b"431"),
    ):
        before = metric(http, "serving_requests_total", outcome="bad")
        more = "".join(f"a{n}: {'b' * 20}\r\n" for n in range(fields))
        head = f"POST /v1/completions HTTP/1.1\r\nhost: a\r\ncontent-type: {kind}\r\n{more}"
        with raw(base, f"{head}content-length: {size}\r\n\r\n".encode() + b"x" * size) as client:
            assert client.recv(100)[9:12] == status
        assert metric(http, "serving_requests_total", outcome="bad") == before + 1


def test_half_closed_clients_are_answered_and_closed_ones_stop(
    base: str, http: httpx.Client
) -> None:
    for stream in (False, True):
        with raw(base, request_bytes(SHORT | {"stream": stream})) as client:
            client.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda client=client: client.recv(1 << 16), b""))  # type: ignore[misc]
            assert b"HTTP/1.1 200 " in answer
            assert b'"finish_reason": "length"' in answer or b'"finish_reason":"length"' in answer
        before = metric(http, "serving_generated_tokens")
        raw(base, request_bytes(LONG | {"stream": stream})).close()
        wait_until_idle(http)
        assert metric(http, "serving_generated_tokens") - before < LONG["max_tokens"]


def child_of(process: subprocess.Popen[str]) -> int:
    """The engine, which is started last, after a tracker of resources."""
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[-1])


def test_an_engine_that_is_killed_is_followed_by_another(tmp_path: Path, small_model: Path) -> None:
    """All six are answered; when the model's file has gone, they end with 500 and the server with
    status 1."""
    model = tmp_path / "model.gguf"
    model.write_bytes(small_model.read_bytes())
    with served_by(*SMALL, "--model", str(model)) as (process, base):

        async def killed(tokens: int) -> Counter[str]:
            asks = [SHORT | {"max_tokens": tokens, "stream": n % 2 == 0} for n in range(PLACES)]
            with client_of(base) as http:
                before = accepted(http)
                ends = asyncio.create_task(outcomes(base, asks))
                while accepted(http) < before + PLACES:
                    await asyncio.sleep(0.02)
                os.kill(child_of(process), signal.SIGKILL)
            return await ends

        assert asyncio.run(killed(120)) == {"200": PLACES // 2, "done": PLACES // 2}
        with client_of(base) as http:
            wait_until(lambda: metric(http, "serving_engine_restarts") == 1, "another engine")
            wait_until(lambda: http.get("/health").status_code == 200, "its model")
        model.unlink()
        assert asyncio.run(killed(5000)) == {"500": PLACES}  # none ends before
        assert process.wait(60) == 1
        assert process.stderr
        told = process.stderr.read()
        assert "the engine has ended, exit status -9; another is started" in told
        assert "no other could be started: there is no model at" in told


def test_a_stopped_engine_holds_nobody_up_and_goes_on(
    server: tuple[subprocess.Popen[str], str],
) -> None:
    """Four times as many as there are places send prompts that do not fit into its pipe: those
    beyond are refused, health and metrics answer within their time, the first of them that nothing
    comes, and all that were inside are answered when the engine goes on."""
    large = SHORT | {"prompt": "a " * (CHARACTERS // 2)}  # more than the context, which it finds

    async def stopped(process: subprocess.Popen[str], base: str) -> Counter[str]:
        with client_of(base) as http, httpx.Client(base_url=base, timeout=5) as hasty:
            wait_until_idle(http)
            before = metric(http, "serving_requests_total", outcome="refused")
            os.kill(child_of(process), signal.SIGSTOP)
            ends = asyncio.create_task(outcomes(base, [large] * (4 * PLACES)))
            refused = 0.0
            while refused < 3 * PLACES:
                await asyncio.sleep(0.02)
                assert hasty.get("/health").json()["status"] in {"ready", "silent"}
                refused = metric(hasty, "serving_requests_total", outcome="refused") - before
            while hasty.get("/health").status_code == 200:  # until the silence has been too long
                await asyncio.sleep(0.02)
            assert hasty.get("/health").json() == {"status": "silent"}
            os.kill(child_of(process), signal.SIGCONT)
            found = await ends
            assert http.post("/v1/completions", json=SHORT).status_code == 200
            assert hasty.get("/health").status_code == 200
        return found

    ends = asyncio.run(stopped(*server))
    assert ends == {"503": 3 * PLACES, "400": PLACES}


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_a_full_server_parses_nothing(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is malformed gets the same refusal as what is large, and each is counted."""
    engine = EngineProcess(Settings(max_sequences=1), queue=0)
    engine.state = "ready"
    parsed: list[bytes] = []

    def read(body: bytes) -> Any:
        parsed.append(body)
        raise RefusedRequest("read")

    monkeypatch.setattr(engine_server, "read_completion", read)
    monkeypatch.setattr(engine_server, "read_chat", read)

    async def test() -> None:
        transport = httpx.ASGITransport(create_app(engine))
        async with httpx.AsyncClient(transport=transport, base_url="http://a") as http:

            async def post(body: bytes) -> httpx.Response:
                return await http.post(path, content=body, headers={"content-type": JSON})

            engine._calls[1] = _Call(0.0)
            for body in (b"", b"[" * BODY_BYTES, json.dumps(SHORT).encode()):
                refused = await post(body)
                assert refused.status_code == 503
                assert 1 <= int(refused.headers["retry-after"]) <= 3
                assert refused.json()["error"]["message"] == "1 requests are inside, try later"
            assert not parsed
            told = (await http.get("/metrics")).text
            assert 'serving_requests_total{outcome="refused"} 3.0' in told
            engine._calls.clear()
            assert (await post(b"[")).json()["error"]["message"] == "read"
            engine.state = "draining"
            assert (await post(b"[")).status_code == 503
            assert parsed == [b"["]

    asyncio.run(test())


def test_what_cannot_begin_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half = tmp_path / "half.gguf"
    half.write_bytes(model_path().read_bytes()[:50_000_000])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for options, told in (
            (["--model", str(half)], "is the model file whole"),
            (["--model", str(tmp_path / "none.gguf")], "there is no model at"),
            (["--port", str(taken.getsockname()[1])], "in use; name another with --port, 0 for"),
            (["--port", "70000"], "port must be in"),
            (["--queue", "-1"], "queue must be a non-negative integer"),
            (["--token-budget", "1"], "token_budget must be at least max_sequences = 32"),
        ):
            assert main(options) == 2
            said = capsys.readouterr().err
            assert said.startswith("serving-mathematics serve: ")
            assert told in said
    with pytest.raises(SystemExit):
        command_parser().parse_args(["--port", "many"])


def test_before_the_model_is_loaded_health_says_so() -> None:
    engine = EngineProcess(Settings())

    async def test() -> None:
        transport = httpx.ASGITransport(create_app(engine))
        async with httpx.AsyncClient(transport=transport, base_url="http://a") as http:
            health = await http.get("/health")
            assert (health.status_code, health.json()) == (503, {"status": "starting"})
            refused = await http.post("/v1/completions", json=SHORT)
            assert refused.status_code == STATUS["failed"]
            assert (await http.get("/v1/models")).status_code == 200

    asyncio.run(test())


def test_times_of_an_answer_are_those_of_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked at 100 s; three tokens at 100.5 s, two at 101 s, one and the end at 104.5 s."""
    clock = iter([100.0, 100.5, 101.0, 104.5])
    watch = SimpleNamespace(perf_counter=lambda: next(clock))
    monkeypatch.setattr(engine_server, "time", watch)

    class Answers:
        async def ask(self, _: object) -> Any:
            yield 7  # tokens of the prompt
            yield Part("a", (1, 2, 3))
            yield Part("b", (4, 5))
            yield Part("c", (6,), "length")

    answers: Any = Answers()
    question: Any = None
    meters = Meters(EngineProcess(Settings()))

    async def test() -> None:
        assert len([part async for part in _timed(answers, question, meters)]) == 4

    asyncio.run(test())
    told = {
        sample.name: sample.value
        for family in text_string_to_metric_families(meters.text().decode())
        for sample in family.samples
    }
    assert told["serving_time_to_first_token_seconds_sum"] == 0.5
    assert told["serving_time_per_output_token_seconds_sum"] == 4 / 5
    assert told["serving_request_seconds_sum"] == 4.5
    assert meters.requests.labels("length")._value.get() == 1


@pytest.mark.parametrize("left", [False, True])
def test_streams_close_their_source_when_the_client_takes_nothing(left: bool) -> None:
    """It stays and reads nothing, or it has left before the first event."""
    closed = []

    async def test() -> None:
        async def source() -> Any:
            try:
                while True:
                    yield 1
            finally:
                closed.append(True)

        async def events(parts: Any) -> Any:
            async with contextlib.aclosing(parts):
                async for _ in parts:
                    yield b"data: a\n\n"

        async def receive() -> Any:
            if not left:
                await asyncio.Event().wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if left or message["type"] == "http.response.body":
                await asyncio.Event().wait()

        scope = {"type": "http", "asgi": {"spec_version": "2.3"}}
        parts = source()
        await anext(parts)
        await AnswerStream(events(parts), 0.05, parts)(scope, receive, send)
        assert closed == [True]  # and not when it is collected

    asyncio.run(asyncio.wait_for(test(), 50))


STOPPED = """
import asyncio, os, signal
from serving_mathematics.engine.engine_server import ServerLimits, serve
from serving_mathematics.engine.token_engine import Settings

async def main():
    loop = asyncio.get_running_loop()
    listen_to = loop.add_signal_handler

    def stop_at_once(number, callback):
        listen_to(number, callback)
        if number == signal.SIGTERM:
            os.kill(os.getpid(), number)

    loop.add_signal_handler = stop_at_once
    return await serve(0, Settings(), ServerLimits())

if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
"""


def test_stopping_before_the_model_is_loaded_ends_at_once(tmp_path: Path) -> None:
    """In a process of its own, which gets the signal as soon as it listens to it."""
    script = tmp_path / "stopped.py"
    script.write_text(STOPPED, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
