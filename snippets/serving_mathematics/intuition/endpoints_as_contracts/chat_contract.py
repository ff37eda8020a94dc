"""The contract of a chat endpoint is a schema, a context limit and a stream; a gate needs more.

An OpenAI-compatible endpoint accepts parameters, tools and at most so many tokens, and answers in
events that end in a finish reason. The rule is the one for tensors: what a request may hold only
widens, what an answer may hold only narrows. Weights, their quantization, tokenizer, chat template,
parsers, default sampling and the engine are in no schema; they change answers, and are compared by
fingerprint. So two unequal endpoints may replace each other: "may replace" is a preorder.

Assumes: callers read fields by name; names of parameters and finish reasons stand for their sets of
values.

Source: vLLM, OpenAI-compatible server, for parameters and chat template; the HTML standard for
server-sent events; OpenAI's chat completion chunks as GreenPT and others document them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

from serving_mathematics.support import checks
from serving_mathematics.support.require import require, require_positive_integer, widen_fields


@dataclass(frozen=True)
class ChatContract:
    """What a chat endpoint accepts and gives, and fingerprints of what decides its answers.

    Raises ValueError on a context that is no positive integer, and on no finish reasons.
    """

    parameters: frozenset[str]  # of a request, besides model and messages
    context_tokens: int  # prompt and answer together
    finish_reasons: frozenset[str]  # that may end an answer
    event_fields: frozenset[str]  # that every stream gives, such as usage
    answers: dict[str, str] = field(default_factory=dict)  # weights, tokenizer, chat_template, …

    def __post_init__(self) -> None:
        """Refuse what is no endpoint."""
        widen_fields(self)
        require_positive_integer(context_tokens=self.context_tokens)
        reasons = self.finish_reasons
        require(len(reasons) > 0, "finish_reasons", "at least one", sorted(reasons))


def chat_violations(old: ChatContract, new: ChatContract) -> list[str]:
    """Every way in which `new` breaks the code of a caller of `old`; empty if none.

    >>> tools, stop, usage = frozenset({"tools"}), frozenset({"stop"}), frozenset({"usage"})
    >>> old, new = (ChatContract(tools, tokens, stop, usage) for tokens in (8192, 4096))
    >>> chat_violations(old, new)
    ['context_tokens: 8192 were accepted, only 4096 are']
    """
    found = [f"parameters.{n}: no longer accepted" for n in sorted(old.parameters - new.parameters)]
    if new.context_tokens < old.context_tokens:
        found.append(
            f"context_tokens: {old.context_tokens} were accepted, only {new.context_tokens} are"
        )
    found += [
        f"finish_reasons.{name}: new, and no caller handles it"
        for name in sorted(new.finish_reasons - old.finish_reasons)
    ]
    missing = sorted(old.event_fields - new.event_fields)
    return found + [f"events.{name}: no longer given" for name in missing]


def answer_changes(old: ChatContract, new: ChatContract) -> list[str]:
    """What may change the answers though no schema shows it: parts whose fingerprints differ.

    >>> none, stop = frozenset(), frozenset({"stop"})
    >>> old = ChatContract(none, 8192, stop, none, {"tokenizer": "a", "lora": "b"})
    >>> answer_changes(old, ChatContract(none, 8192, stop, none, {"tokenizer": "c"}))
    ['lora', 'tokenizer']
    """
    names = sorted(old.answers.keys() | new.answers.keys())
    return [name for name in names if old.answers.get(name) != new.answers.get(name)]


def may_go_out(old: ChatContract, new: ChatContract) -> str:
    """What the build may do with a new version: "deploy", "evaluate" first, or a "new path".

    >>> none, stop = frozenset(), frozenset({"stop"})
    >>> old, new = (ChatContract(none, 9, stop, none, {"weights": w}) for w in ("a", "b"))
    >>> may_go_out(old, new)
    'evaluate'
    """
    if chat_violations(old, new):
        return "new path"
    return "evaluate" if answer_changes(old, new) else "deploy"


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
                for call in choice["delta"].get("tool_calls", ()):
                    key = (index, int(call["index"]))
                    text = call.get("function", {}).get("arguments", "")
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


CHAT = ChatContract(  # an endpoint as it might be in production
    parameters=frozenset(
        {"max_tokens", "temperature", "tools", "response_format", "stream", "stream_options"}
    ),
    context_tokens=131_072,
    finish_reasons=frozenset({"stop", "length", "tool_calls"}),
    event_fields=frozenset({"id", "model", "usage"}),  # usage if stream_options ask for it
    answers={
        "weights": "a3f1",
        "quantization": "5c1d",
        "kv_cache_dtype": "0e72",
        "tokenizer": "77c0",
        "chat_template": "19be",
        "tool_parser": "8b06",
        "generation_config": "d2a4",
        "engine": "c94f",
    },
)


def _stream() -> list[str]:
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
    """The decisions quoted in the text."""
    template = replace(CHAT, answers=CHAT.answers | {"chat_template": "0c55"})
    shorter = replace(CHAT, context_tokens=32_768)
    filtered = replace(CHAT, finish_reasons=CHAT.finish_reasons | {"content_filter"})
    cut = [*_stream()[:2], *_stream()[3:]]
    return SimpleNamespace(
        template_decision=may_go_out(CHAT, template),
        template_changes=answer_changes(CHAT, template)[0],
        shorter_reason=chat_violations(CHAT, shorter)[0],
        filter_reason=chat_violations(CHAT, filtered)[0],
        cut_error=stream_errors(cut)[0],
    )


def check_order_of_chat_contracts() -> None:
    """Wider requests and narrower answers may replace, and nothing else, as sets say.

    Source: every pair of endpoints with some of two parameters, two limits and some of two finish
    reasons; a caller by brute force, who sends any allowed request and handles the old reasons.
    """
    endpoints = [
        ChatContract(frozenset(p), tokens, frozenset(reasons), frozenset())
        for p in ((), ("tools",), ("seed", "tools"))
        for tokens in (4, 8)
        for reasons in (("stop",), ("length", "stop"))
    ]

    def safe(old: ChatContract, new: ChatContract) -> bool:
        requests = [(name, t) for name in old.parameters for t in range(1, old.context_tokens + 1)]
        requests += [("", t) for t in range(1, old.context_tokens + 1)]  # without parameters
        sent = all(n in {*new.parameters, ""} and t <= new.context_tokens for n, t in requests)
        return sent and all(reason in old.finish_reasons for reason in new.finish_reasons)

    agree = [safe(a, b) == (not chat_violations(a, b)) for a in endpoints for b in endpoints]
    checks.holds(f"rules and sets agree for {len(agree)} pairs", all(agree))
    both = [
        a == b
        for a in endpoints
        for b in endpoints
        if not chat_violations(a, b) and not chat_violations(b, a)
    ]
    checks.holds("mutual replacement only between equal schemas", all(both))
    weights = replace(CHAT, answers=CHAT.answers | {"weights": "b7e2"})
    there, back = chat_violations(CHAT, weights), chat_violations(weights, CHAT)
    checks.equal("other weights, there and back", [*there, *back], [])
    checks.holds("and yet unequal", weights != CHAT)


def check_schema_is_half_of_the_gate() -> None:
    """A new chat template breaks no caller's code and may change every answer.

    Source: the template is applied before the tokenizer (vLLM, chat template); by hand.
    """
    template = replace(CHAT, answers=CHAT.answers | {"chat_template": "0c55"})
    checks.equal("violations", chat_violations(CHAT, template), [])
    checks.equal("decision", may_go_out(CHAT, template), "evaluate")
    checks.equal("nothing changed", may_go_out(CHAT, CHAT), "deploy")
    shorter = replace(template, context_tokens=32_768)
    checks.equal("a shorter context", may_go_out(CHAT, shorter), "new path")


def check_streams() -> None:
    """A published stream and a tool call in pieces pass; a lost piece of a tool call, the end or
    everything is noticed, a lost piece of plain text is not.

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
    checks.equal("[DONE] alone", stream_errors(["[DONE]"]), ["choices: none was opened"])
    whole = _stream()
    checks.equal("a tool call", stream_errors(whole), [])
    harmless = {0, 4}  # the role, and the usage, which is asked for
    for place in range(len(whole)):
        cut = stream_errors(whole[:place] + whole[place + 1 :])
        checks.holds(f"without event {place}", bool(cut) == (place not in harmless), got=cut)
    checks.holds("other order", bool(stream_errors([whole[4], *whole[:4], whole[5]])))
    checks.holds("no chunk", bool(stream_errors(["{}", "[DONE]"])))
    checks.holds("nothing", bool(stream_errors([])))


def check_bad_input_is_refused() -> None:
    """No context and no way to end are errors that name the field."""
    none: frozenset[str] = frozenset()
    stop = frozenset({"stop"})
    checks.raises("no context", ChatContract, none, 0, stop, none, match="context_tokens must be")
    checks.raises("no end", ChatContract, none, 1, none, none, match="finish_reasons must be at")
