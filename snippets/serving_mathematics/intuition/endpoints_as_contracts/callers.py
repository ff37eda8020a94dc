"""A chat endpoint with fourteen changes made to it, and six callers that read what it gives.

Assumes: callers as they are listed, with one request each; an engine that ignores a parameter that
it does not know, as vLLM does.

Source: vLLM 27752 for a renamed field, 53975 for a parameter that is ignored, 45256 for a parser
that loses a piece, 12622 for sampling defaults, 23138 for neighbours in the batch; pydantic-ai 2844
for a finish reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from serving_mathematics.intuition.endpoints_as_contracts.chat_contract import CHAT, ChatContract
from serving_mathematics.intuition.endpoints_as_contracts.event_streams import stream_errors
from serving_mathematics.support import checks

KNOWN_ENDS = {"stop", "length", "tool_calls"}
Events = list[dict[str, Any]]


@dataclass(frozen=True)
class _Endpoint:
    """A contract, and what no contract says."""

    contract: ChatContract = CHAT
    template_tokens: int = 900  # that the template puts around the messages
    reasoning: str = "reasoning_content"
    end: str = "stop"
    usage: bool = True
    loses_piece: bool = False  # the second of a tool call's arguments
    label: str = "spam"  # the likeliest answer to one question
    busy_label: str = "spam"  # beside other sequences
    timeout_s: float = 600.0  # of the gateway


@dataclass(frozen=True)
class _Caller:
    """What a caller sends, and whether it can live with the events that come back."""

    reads: Callable[[Events], bool]
    parameters: frozenset[str] = frozenset({"stream"})
    tokens: int = 2_000  # prompt and answer
    answer_s: float = 5.0


def _deltas(events: Events) -> Events:
    return [choice["delta"] for event in events for choice in event["choices"]]


def _ends(events: Events) -> set[str]:
    found = {choice.get("finish_reason") for event in events for choice in event["choices"]}
    return found - {None}


def _arguments(events: Events) -> str:
    calls = [call for delta in _deltas(events) for call in delta.get("tool_calls", ())]
    return "".join(call["function"]["arguments"] for call in calls)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _text(events: Events) -> str:
    return "".join(delta.get("content", "") for delta in _deltas(events))


CALLERS = {
    "chat window": _Caller(lambda e: bool(_text(e))),
    "view of the reasoning": _Caller(lambda e: any("reasoning_content" in d for d in _deltas(e))),
    "agent with tools": _Caller(
        lambda e: _is_json(_arguments(e)) and _ends(e) <= KNOWN_ENDS,
        frozenset({"stream", "tools"}),
    ),
    "long documents": _Caller(lambda e: bool(_ends(e)), tokens=130_000, answer_s=90.0),
    "billing": _Caller(lambda e: any("usage" in one for one in e)),
    "spam filter": _Caller(lambda e: _text(e) == "spam", frozenset({"stream", "response_format"})),
}


def _with(**fingerprints: str) -> ChatContract:
    return replace(CHAT, answers=CHAT.answers | fingerprints)


CHANGES = {
    "a field is renamed": _Endpoint(
        replace(CHAT, event_fields=CHAT.event_fields - {"reasoning_content"} | {"reasoning"}),
        reasoning="reasoning",
    ),
    "usage is left out": _Endpoint(
        replace(CHAT, event_fields=CHAT.event_fields - {"usage"}), usage=False
    ),
    "a new finish reason": _Endpoint(
        replace(CHAT, finish_reasons=CHAT.finish_reasons | {"error"}), end="error"
    ),
    "a parameter is ignored": _Endpoint(
        replace(CHAT, parameters=CHAT.parameters - {"response_format"})
    ),
    "a context cut to a quarter": _Endpoint(replace(CHAT, context_tokens=32_768)),
    "a parameter is added": _Endpoint(replace(CHAT, parameters=CHAT.parameters | {"logprobs"})),
    "weights in eight bits": _Endpoint(
        _with(weights="b7e2", quantization="9f40"), label="ham", busy_label="ham"
    ),
    "a cache in eight bits": _Endpoint(_with(kv_cache_dtype="fp8"), label="ham", busy_label="ham"),
    "a longer chat template": _Endpoint(_with(chat_template="0c55"), template_tokens=1_100),
    "other sampling defaults": _Endpoint(
        _with(generation_config="41c7"), label="ham", busy_label="ham"
    ),
    "another tool parser": _Endpoint(_with(tool_parser="e6a0"), loses_piece=True),
    "a faster engine": _Endpoint(_with(engine="d5b8")),
    "a larger batch, on many GPUs": _Endpoint(busy_label="ham"),
    "a shorter time-out": _Endpoint(timeout_s=60.0),
}


def _served(endpoint: _Endpoint, caller: _Caller, quiet: bool = False) -> Events:
    """The events that an endpoint gives a caller; none where it refuses the request.

    quiet: whether nobody else is in the batch, and no gateway before it.
    """
    contract = endpoint.contract
    if caller.tokens + endpoint.template_tokens > contract.context_tokens:
        return []
    label = endpoint.label if quiet else endpoint.busy_label
    if caller.parameters - contract.parameters:  # no error: the answer is free
        label = f"I would call it {label}."

    def chunk(end: str | None = None, **delta: object) -> dict[str, Any]:
        return {"id": "1", "choices": [{"index": 0, "delta": delta, "finish_reason": end}]}

    events = [chunk(**{endpoint.reasoning: "It asks for money."})]
    if "tools" in caller.parameters:
        pieces = ('{"city": ', '"Bern"}')[: 1 if endpoint.loses_piece else 2]
        calls = [{"index": 0, "function": {"arguments": piece}} for piece in pieces]
        events += [chunk(tool_calls=[call]) for call in calls]
    else:
        events.append(chunk(content=label))
    if not quiet and caller.answer_s > endpoint.timeout_s:
        return events
    events.append(chunk("tool_calls" if "tools" in caller.parameters else "stop"))
    if endpoint.end != "stop":
        events[-1] = chunk(endpoint.end)
    return events + ([{"id": "1", "choices": [], "usage": {}}] if endpoint.usage else [])


def check_before_a_change_nobody_breaks() -> None:
    """Before any change, the endpoint suits every caller, and its streams have no errors.

    Source: the callers' own code on the endpoint before any change.
    """
    old = _Endpoint()
    for name, caller in CALLERS.items():
        events = _served(old, caller)
        lines = [*map(json.dumps, events), "[DONE]"]
        checks.holds(name, caller.reads(events) and not stream_errors(lines))
