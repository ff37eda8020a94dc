"""A streamed answer is part of the promise: one id, one end, arguments that join to JSON.

Events are the data lines of server-sent events. What is lost of a tool call shows in its form; what
is lost of a plain text does not, and only its tokens, counted against `usage`, can show it.

Assumes: one answer, whole, in the order in which it came.

Source: the HTML standard for server-sent events; OpenAI's chat completion chunks as GreenPT and
others document them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import SimpleNamespace

from serving_mathematics.support import checks


def stream_errors(events: Sequence[str]) -> list[str]:
    """What is wrong with the data lines of one streamed answer, in order; empty if nothing.

    events: payloads after "data: ", the last of which is [DONE]. Chunks share one id; every choice
    ends once, in a finish reason, and says nothing after it; the pieces of a tool call's arguments
    join to JSON; a chunk without choices holds the usage and comes last. A lost piece of plain text
    is no error of form, and is not found. Never raises on a stream.

    >>> chunk = '{"id": "1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}'
    >>> stream_errors([chunk, "[DONE]"]), stream_errors([chunk])
    ([], ['events: must end in [DONE]'])
    """
    found: list[str] = []
    identities: set[str] = set()
    opened: set[int] = set()
    ended: set[int] = set()
    calls: dict[tuple[int, int], str] = {}
    used = False
    for place, event in enumerate(events[:-1]):
        where = f"events[{place}]"
        try:
            chunk = json.loads(event)
            choices = chunk["choices"]
            identities.add(chunk["id"])
            if used:
                found.append(f"{where}: comes after the usage")
            used = used or not choices
            if not choices and not isinstance(chunk.get("usage"), dict):
                found.append(f"{where}: has neither choices nor usage")
            for choice in choices:
                index = int(choice["index"])
                opened.add(index)
                if index in ended:
                    found.append(f"{where}: choice {index} had ended")
                if choice.get("finish_reason") is not None:
                    ended.add(index)
                for call in choice["delta"].get("tool_calls") or ():
                    key = (index, int(call["index"]))
                    text = (call.get("function") or {}).get("arguments") or ""
                    calls[key] = calls.get(key, "") + text
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            found.append(f"{where}: is no chunk")
    if not events or events[-1] != "[DONE]":
        found.append("events: must end in [DONE]")
    if len(identities) > 1:
        found.append(f"id: must be one, got {len(identities)}")
    if not opened and not found:
        found.append("choices: none was opened")
    found += [f"choices.{index}: never ends" for index in sorted(opened - ended)]
    for (index, call), text in sorted(calls.items()):
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            found.append(f"choices.{index}.tool_calls.{call}: arguments are no JSON")
    return found


def _tool_call() -> list[str]:
    """A streamed tool call: a role, two pieces of arguments, the end, the usage."""

    def chunk(choices: list[dict[str, object]], **more: object) -> str:
        return json.dumps(
            {"id": "chat-1", "object": "chat.completion.chunk", "choices": choices} | more
        )

    def delta(finish: str | None = None, **parts: object) -> list[dict[str, object]]:
        return [{"index": 0, "delta": parts, "finish_reason": finish}]

    def piece(text: str) -> list[dict[str, object]]:
        return delta(tool_calls=[{"index": 0, "function": {"arguments": text}}])

    return [
        chunk(delta(role="assistant")),
        chunk(piece('{"city": ')),
        chunk(piece('"Bern"}')),
        chunk(delta("tool_calls")),
        chunk([], usage={"prompt_tokens": 12, "completion_tokens": 9}),
        "[DONE]",
    ]


def example() -> SimpleNamespace:
    """What the text quotes."""
    whole = _tool_call()
    return SimpleNamespace(cut_error=stream_errors([*whole[:2], *whole[3:]])[0])


def check_streams() -> None:
    """A published stream and a tool call in pieces pass. A stream that has lost a piece of a tool
    call, its end or everything is noticed; one that has lost a piece of plain text is not.

    Source: chunks as GreenPT documents them for its OpenAI-compatible endpoint; all streams with
    one event missing.
    """
    published = [
        '{"id":"cmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":'
        '{"role":"assistant","content":"Hello"},"finish_reason":null}]}',
        '{"id":"cmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},'
        '"finish_reason":"stop"}]}',
        "[DONE]",
    ]
    checks.equal("as documented", stream_errors(published), [], kind="published")
    checks.equal("without its text", stream_errors(published[1:]), [])
    checks.holds("without its end", bool(stream_errors([published[0], published[2]])))
    whole = _tool_call()
    checks.equal("a tool call", stream_errors(whole), [])
    harmless = {0, 4}  # the role, and the usage, which is asked for
    for place in range(len(whole)):
        cut = stream_errors(whole[:place] + whole[place + 1 :])
        checks.holds(f"without event {place}", bool(cut) == (place not in harmless), got=cut)
    checks.holds("other order", bool(stream_errors([whole[4], *whole[:4], whole[5]])))
    checks.holds("no chunk", bool(stream_errors(["{}", "[DONE]"])))
    checks.holds("nothing", bool(stream_errors([])))
