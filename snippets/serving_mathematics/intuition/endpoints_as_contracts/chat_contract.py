"""The contract of a chat endpoint is a schema, a context limit and a stream; a gate needs more.

An OpenAI-compatible endpoint accepts parameters and at most so many tokens, and answers in events
that end in a finish reason. What a request may hold only widens, what an answer may hold only
narrows. Weights, their quantization, tokenizer, chat template, parsers, default sampling and the
engine are in no schema; they change answers, and are compared by fingerprint. So two unequal
endpoints may replace each other: "may replace" is a preorder. The version follows from it.

Assumes: callers read fields by name; names of parameters and finish reasons stand for their sets of
values.

Source: vLLM, OpenAI-compatible server, for parameters and chat template; Liskov and Wing (1994) for
the direction of the inclusions; SemVer 2.0.0.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
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
    event_fields: frozenset[str]  # that a stream gives, such as usage to who asks for it
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
    """What may change the answers though no code breaks: parts whose fingerprints differ, and
    finish reasons that are no longer given.

    >>> none, stop = frozenset(), frozenset({"stop"})
    >>> old = ChatContract(none, 8192, stop, none, {"tokenizer": "a", "lora": "b"})
    >>> answer_changes(old, ChatContract(none, 8192, stop, none, {"tokenizer": "c"}))
    ['lora', 'tokenizer']
    """
    names = sorted(old.answers.keys() | new.answers.keys())
    changed = [name for name in names if old.answers.get(name) != new.answers.get(name)]
    gone = sorted(old.finish_reasons - new.finish_reasons)
    return changed + [f"finish_reasons.{name}" for name in gone]


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


def next_version(version: str, old: ChatContract, new: ChatContract) -> str:
    """Version of `new` after `version`: patch if the schema stays, minor if it widens, else major.

    version: MAJOR.MINOR.PATCH of `old`. Raises ValueError unless it is three whole numbers without
    leading zeros, the first of them positive (SemVer promises nothing for 0.y.z).

    >>> none, stop = frozenset(), frozenset({"stop"})
    >>> old, new = (ChatContract(none, tokens, stop, none) for tokens in (8192, 16384))
    >>> next_version("1.4.2", old, new), next_version("1.4.2", new, old)
    ('1.5.0', '2.0.0')
    """
    parts = version.split(".")
    numbers = [int(p) for p in parts if p.isascii() and p.isdigit() and p == str(int(p))]
    require(len(numbers) == len(parts) == 3, "version", "MAJOR.MINOR.PATCH", repr(version))
    major, minor, patch = numbers
    require(major >= 1, "version", "at least 1.0.0", repr(version))
    if chat_violations(old, new):
        return f"{major + 1}.0.0"
    return f"{major}.{minor + 1}.0" if chat_violations(new, old) else f"{major}.{minor}.{patch + 1}"


def read_contract(text: str) -> ChatContract:
    """The contract in a JSON file that lies beside the model, with the fields of ChatContract.

    Raises ValueError on what is no such object, with the field that is wrong.

    >>> read_contract('{"parameters": [], "context_tokens": 9, "finish_reasons": ["stop"],'
    ...               ' "event_fields": ["usage"], "answers": {}}').context_tokens
    9
    """
    given = json.loads(text)
    names = [one.name for one in fields(ChatContract)]
    require(isinstance(given, dict) and sorted(given) == sorted(names), "text", f"{names}", given)
    for name in ("parameters", "finish_reasons", "event_fields"):
        listed = given[name]
        sound = isinstance(listed, list) and all(isinstance(one, str) for one in listed)
        require(sound, name, "a list of strings", repr(listed))
        given[name] = frozenset(listed)
    require(isinstance(given["answers"], dict), "answers", "an object", repr(given["answers"]))
    return ChatContract(**given)


CHAT = ChatContract(  # an endpoint as it might be in production
    parameters=frozenset(
        {"max_tokens", "temperature", "tools", "response_format", "stream", "stream_options"}
    ),
    context_tokens=131_072,
    finish_reasons=frozenset({"stop", "length", "tool_calls"}),
    event_fields=frozenset({"id", "model", "reasoning_content", "usage"}),
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
_SHORTER = replace(CHAT, context_tokens=32_768)
_WIDER = replace(CHAT, parameters=CHAT.parameters | {"logprobs"})
_TOOLLESS = replace(CHAT, finish_reasons=CHAT.finish_reasons - {"tool_calls"})
_TEMPLATE = replace(CHAT, answers=CHAT.answers | {"chat_template": "0c55"})


def example() -> SimpleNamespace:
    """The decisions quoted in the text."""
    return SimpleNamespace(
        template_decision=may_go_out(CHAT, _TEMPLATE),
        template_changes=answer_changes(CHAT, _TEMPLATE)[0],
        shorter_reason=chat_violations(CHAT, _SHORTER)[0],
        version_same=next_version("1.4.2", CHAT, _TEMPLATE),
        version_wider=next_version("1.4.2", CHAT, _WIDER),
        version_shorter=next_version("1.4.2", CHAT, _SHORTER),
    )


def check_order_of_chat_contracts() -> None:
    """A contract may replace another if it accepts all of its requests and gives only its answers,
    and not otherwise: the rules say the same as the sets.

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


def check_gate_and_versions() -> None:
    """A new chat template breaks no caller's code but may change every answer, and so may an
    endpoint that no longer calls tools; a wider endpoint is a minor version, and going back from it
    is a major one.

    Source: the template is applied before the tokenizer (vLLM, chat template); SemVer 2.0.0,
    summary; by hand.
    """
    for label, new, decision, version in (
        ("nothing", CHAT, "deploy", "1.4.3"),
        ("a template", _TEMPLATE, "evaluate", "1.4.3"),
        ("a parameter more", _WIDER, "deploy", "1.5.0"),
        ("a shorter context", _SHORTER, "new path", "2.0.0"),
        ("no tool calls any more", _TOOLLESS, "evaluate", "1.5.0"),
    ):
        got = (may_go_out(CHAT, new), next_version("1.4.2", CHAT, new))
        checks.equal(label, got, (decision, version))
    checks.equal("back from it", next_version("1.5.0", _WIDER, CHAT), "2.0.0")
