"""What a number costs that Python writes as digits and reads again.

A float32 that `tolist()` has made a Python float is written with the digits of a double, up to 17
of them, which SGLang sends as embeddings; vLLM writes the float32 itself, in fewer. Token ids are
whole numbers, and cheaper. Text has no digits, but what is not ASCII is escaped.

`python -m serving_mathematics.architecture.rest_grpc.number_digits` measures both, in a second,
and writes records/number_digits.json.gz.

Assumes: the standard library's `json` at both ends; the fastest of many repetitions.

Source: SGLang 0.5.23, batch_result_processor.py, for `tolist()`; vLLM 0.34, `create_json_response`,
which requires orjson.
"""

from __future__ import annotations

import json
import math
import time
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from serving_mathematics.architecture.rest_grpc.rest_grpc import CONTINENT, call_parts
from serving_mathematics.core.machines.machines import AGENTS
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import recorded

KINDS = ("embedding", "token id")
NUMBERS, REPEATS = 8192, 40
CHINESE, RUSSIAN = "\u670d\u52a1", "\u043e\u0442\u0432\u0435\u0442"  # as they are escaped


class _NumberCost(NamedTuple):
    """Bytes of a number with its comma, and the time to write and to read it [ns]."""

    size_bytes: float
    write_ns: float
    read_ns: float


def _numbers(kind: str) -> list[float]:
    """Numbers as a program holds them before it writes them."""
    rng = np.random.default_rng(0)
    if kind == "token id":
        return list(rng.integers(100_000, 163_840, NUMBERS).tolist())
    return list((rng.standard_normal(NUMBERS) / 64).astype(np.float32).tolist())  # of length 1


@recorded(_NumberCost, "number_digits")
def _number_cost(kind: str) -> _NumberCost:
    """What a number of this kind takes in JSON with Python's `json`: one of KINDS."""
    numbers = _numbers(kind)
    text = json.dumps(numbers, separators=(",", ":"))
    least = {"write": float("inf"), "read": float("inf")}
    for _ in range(REPEATS):
        started = time.perf_counter_ns()
        json.dumps(numbers)
        written = time.perf_counter_ns()
        json.loads(text)
        least["write"] = min(least["write"], written - started)
        least["read"] = min(least["read"], time.perf_counter_ns() - written)
    return _NumberCost(
        len(text) / NUMBERS, round(least["write"] / NUMBERS, 1), round(least["read"] / NUMBERS, 1)
    )


def _number_s(kind: str) -> float:
    """Time to write a number as digits and to read it [s]."""
    cost = _number_cost(kind)
    return (cost.write_ns + cost.read_ns) / 1e9


def _short_bytes() -> float:
    """What the digits that tell a float32 from all others take with a comma [B]."""
    texts = np.array(_numbers("embedding"), np.float32).astype(str)
    return float(np.char.str_len(texts).mean()) + 1


def _escaped_times(text: str) -> float:
    """How many times its bytes a text takes in JSON as Python's `json` writes it by default."""
    return (len(json.dumps(text)) - 2) / len(text.encode())


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    return SimpleNamespace(
        digit_ns=1e9 * _number_s("embedding"),
        numbers_in_4_ms=round(4e-3 / _number_s("embedding"), -2),
        digit_bytes=_number_cost("embedding").size_bytes,
        short_bytes=_short_bytes(),
        chinese_times=_escaped_times(CHINESE),
        russian_times=_escaped_times(RUSSIAN),
    )


def check_long_digits_cost_more() -> None:
    """With its comma, a float32 takes 21.5 bytes as the Python float that `tolist()` makes of it
    and 12.7 with its own digits; a token id of six digits takes seven. The longer number takes
    longer to write and read.

    Source: the digits of each number, counted again; a test measures the order of the times again.
    """
    for kind, size in (("embedding", 21.5), ("token id", 7.0)):
        checks.close(f"{kind} [B]", _number_cost(kind).size_bytes, size, atol=0.1)
        again = len(json.dumps(_numbers(kind), separators=(",", ":"))) / NUMBERS
        checks.equal(f"{kind}: bytes again", again, _number_cost(kind).size_bytes)
    checks.close("embedding, shortest [B]", _short_bytes(), 12.7, atol=0.1)
    times = [_number_s(kind) for kind in KINDS]
    checks.holds("slower", times[0] > times[1], got=np.round(times, 9).tolist())


def check_escaped_text_is_worth_a_connection() -> None:
    """Python's `json` makes Chinese text twice as long and Russian three times. For an agent's
    prompt in Chinese at 100 Mbit/s, that costs more than the two round trips of a new connection if
    they take a millisecond each, and less if they take 50.

    Source: an escape has six bytes, for three and two of UTF-8; the bytes of both texts, by the law
    of a call.
    """
    for name, text, wide in (("Chinese", CHINESE, 3), ("Russian", RUSSIAN, 2)):
        checks.close(f"{name}: times as long", _escaped_times(text), 6 / wide, rtol=1e-12)
    size = 4 * float(AGENTS.sample.prompt_tokens.mean())  # a token is four letters or so
    for far_s, low, high in ((0.001, 1.1, math.inf), (0.05, 0.05, 0.9)):
        plain, escaped = (
            call_parts(size * times, 30.0, far_s, CONTINENT[1]).total_s
            for times in (1.0, _escaped_times(CHINESE))
        )
        label = f"{1000 * far_s:g} ms: escapes over two round trips"
        checks.inside(label, (escaped - plain) / (2 * far_s), low, high)


if __name__ == "__main__":
    _number_cost.make()
