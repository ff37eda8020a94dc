"""What a client may ask of the completion endpoints, and what it gets, in the form of the OpenAI
API.

Nothing is converted and nothing unknown is accepted. A field that the engine cannot honour is
accepted only with the value that asks for nothing, so that no client takes an answer for one that
respects its wish.

Assumes: one answer a request.

Source: the OpenAI API, completions and chat completions, for names and shapes; `ignore_eos`
and `continuous_usage_stats` are vLLM's, which load generators send. Needs pydantic.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from serving_mathematics.core.servers.inference_bodies import _once, _reason
from serving_mathematics.engine.engine_process import Question
from serving_mathematics.engine.token_engine import VOCABULARY
from serving_mathematics.support import checks

MODEL = "SmolLM2-135M-Instruct"
CHARACTERS = 1 << 17  # of a prompt, at most
MARKS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")  # of the template: where a message is


def _text_or_list(given: Any) -> str:
    """Which of the two a value is to be, so that a refusal is of that one."""
    return "text" if isinstance(given, str) else "list"


Either = Discriminator(_text_or_list)
Stop = Annotated[str, Field(min_length=1, max_length=64)]
Stops = Annotated[list[Stop], Field(max_length=4)]
Token = Annotated[int, Field(ge=0, lt=VOCABULARY)]
Tokens = Annotated[list[Token], Field(min_length=1, max_length=8192)]
Prompt = Annotated[str, Field(min_length=1, max_length=CHARACTERS)]
EmptyList = Annotated[list[Any], Field(max_length=0)]
EmptyObject = Annotated[dict[str, Any], Field(max_length=0)]
Body = TypeVar("Body", bound=BaseModel)


class RefusedRequest(ValueError):
    """A body that is no request, with the field that is wrong."""


class StreamOptions(BaseModel):
    """What a stream tells beside its text."""

    model_config = ConfigDict(extra="forbid", strict=True)
    include_usage: bool = False
    continuous_usage_stats: bool = False  # in every part; vLLM's


class PlainText(BaseModel):
    """The form of an answer that nobody has to be asked for."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["text"]


class Wishes(BaseModel):
    """What both endpoints take; from `n` on, what is asked for by its name only."""

    model_config = ConfigDict(extra="forbid", strict=True)
    model: Literal["SmolLM2-135M-Instruct"] = "SmolLM2-135M-Instruct"
    max_tokens: Annotated[int, Field(ge=1, le=1 << 20)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] | None = None
    stop: Annotated[Annotated[Stop, Tag("text")] | Annotated[Stops, Tag("list")], Either] | None = (
        None
    )
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    ignore_eos: bool = False
    user: Annotated[str, Field(max_length=256)] | None = None
    n: Literal[1] | None = None
    logprobs: Literal[False] | None = None
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    repetition_penalty: Literal[1] | None = None
    logit_bias: EmptyObject | None = None
    metadata: EmptyObject | None = None
    min_p: Literal[0] | None = None
    top_k: Literal[-1, 0] | None = None
    top_logprobs: Literal[0] | None = None
    response_format: PlainText | None = None
    store: Literal[False] | None = None
    service_tier: Literal["auto", "default"] | None = None
    tools: EmptyList | None = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: bool | None = None

    def question(self, prompt: Any, max_tokens: int | None) -> Question:
        """The request as the engine takes it; the API samples at temperature 1 by default."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return Question(
            prompt,
            max_tokens,
            tuple(stop),
            1.0 if self.temperature is None else self.temperature,
            1.0 if self.top_p is None else self.top_p,
            self.seed,
            self.ignore_eos,
        )


class Completion(Wishes):
    """A text, or token numbers, to be gone on with; 16 tokens by default."""

    prompt: Annotated[Annotated[Prompt, Tag("text")] | Annotated[Tokens, Tag("list")], Either]
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None
    suffix: Literal[""] | None = None


class TextPart(BaseModel):
    """A part of what somebody said; the model reads nothing but text."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["text"]
    text: Annotated[str, Field(max_length=CHARACTERS)]


class Message(BaseModel):
    """What somebody said in a conversation, in one piece or in parts, without what would end the
    message in the model's template and begin another.

    >>> Message(role="user", content=[TextPart(type="text", text=t) for t in ("a", "b")]).told()
    {'role': 'user', 'content': 'ab'}
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    role: Literal["system", "user", "assistant"]
    content: Annotated[
        Annotated[str, Field(max_length=CHARACTERS), Tag("text")]
        | Annotated[list[TextPart], Field(min_length=1, max_length=64), Tag("list")],
        Either,
    ]

    @model_validator(mode="after")
    def is_one(self) -> Self:
        """Nothing in it ends the message."""
        for mark in MARKS:
            if mark in self.told()["content"]:
                raise ValueError(f"content must be without {mark}, which ends or begins a message")
        return self

    def told(self) -> dict[str, str]:
        """The message as the model's template takes it."""
        parts = self.content
        text = parts if isinstance(parts, str) else "".join(part.text for part in parts)
        return {"role": self.role, "content": text}


class Chat(Wishes):
    """A conversation to be answered, with as many tokens as the context leaves by default."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=256)]
    max_completion_tokens: Annotated[int, Field(ge=1, le=1 << 20)] | None = None

    @model_validator(mode="after")
    def agree(self) -> Self:
        """Two names of one limit do not say two."""
        old, new = self.max_tokens, self.max_completion_tokens
        if old and new and old != new:
            raise ValueError(f"max_tokens must be max_completion_tokens = {new}, got {old}")
        return self


def read_completion(body: bytes) -> tuple[Wishes, Question]:
    """A body of /v1/completions. Raises RefusedRequest, which names the first wrong field.

    >>> read_completion(b'{"prompt": "Hi", "max_tokens": 3}')[1].max_tokens
    3
    """
    asked = _validated(Completion, body)
    prompt = asked.prompt if isinstance(asked.prompt, str) else tuple(asked.prompt)
    return asked, asked.question(prompt, asked.max_tokens or 16)


def read_chat(body: bytes) -> tuple[Wishes, Question]:
    """A body of /v1/chat/completions. Raises RefusedRequest, which names the first wrong field.

    >>> read_chat(b'{"messages": [{"role": "user", "content": "Hi"}]}')[1].prompt
    ({'role': 'user', 'content': 'Hi'},)
    """
    asked = _validated(Chat, body)
    prompt = tuple(message.told() for message in asked.messages)
    return asked, asked.question(prompt, asked.max_completion_tokens or asked.max_tokens)


def _validated(kind: type[Body], body: bytes) -> Body:
    try:
        return _once(kind, body)
    except ValidationError as errors:
        raise RefusedRequest(_reason(errors.errors())) from None
    except ValueError as problem:
        raise RefusedRequest(f"body: {problem}") from None


class Envelope:
    """The bodies of one answer: the same number, time and model around every part.

    chat: of which endpoint. number: of the answer. created: seconds since 1970.

    >>> Envelope(chat=False, number="7", created=0).whole("Hi", "stop", 3, 1)["choices"]
    [{'index': 0, 'logprobs': None, 'finish_reason': 'stop', 'text': 'Hi'}]
    """

    def __init__(self, *, chat: bool, number: str, created: int) -> None:
        """Nothing is sent here."""
        self._chat, self._number, self._created = chat, number, created

    def whole(self, text: str, finish: str, prompt_tokens: int, tokens: int) -> dict[str, Any]:
        """The answer in one piece."""
        said = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        usage = self._usage(prompt_tokens, tokens)
        return self._around([self._choice(said, finish)], "chat.completion") | {"usage": usage}

    def part(self, text: str, finish: str, *, first: bool = False) -> dict[str, Any]:
        """A part of a stream."""
        role = {"role": "assistant"} if first else {}
        said = {"delta": role | {"content": text}} if self._chat else {"text": text}
        return self._around([self._choice(said, finish or None)], "chat.completion.chunk")

    def usage(self, prompt_tokens: int, tokens: int) -> dict[str, Any]:
        """The last part of a stream that was asked for its usage."""
        usage = self._usage(prompt_tokens, tokens)
        return self._around([], "chat.completion.chunk") | {"usage": usage}

    def _choice(self, said: dict[str, Any], finish: str | None) -> dict[str, Any]:
        return {"index": 0, "logprobs": None, "finish_reason": finish} | said

    def _around(self, choices: list[dict[str, Any]], kind: str) -> dict[str, Any]:
        return {
            "id": f"{'chatcmpl' if self._chat else 'cmpl'}-{self._number}",
            "object": kind if self._chat else "text_completion",
            "created": self._created,
            "model": MODEL,
            "choices": choices,
        }

    @staticmethod
    def _usage(prompt_tokens: int, tokens: int) -> dict[str, int]:
        return {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": tokens,
            "total_tokens": prompt_tokens + tokens,
        }


def check_requests_are_validated() -> None:
    """A body of the right form passes with the defaults of the API; what the engine cannot honour,
    does not know, or would have to convert is refused with its field.

    Source: the API's reference for defaults and ranges, from both sides.
    """
    _, question = read_completion(b'{"prompt": "a"}')
    checks.equal("completion: tokens by default", question.max_tokens, 16, kind="published")
    checks.equal("completion: temperature", question.temperature, 1.0, kind="published")
    checks.equal("no seed", question.seed, None)
    checks.equal("seed 0", read_completion(b'{"prompt": "a", "seed": 0}')[1].seed, 0)
    _, numbers = read_completion(b'{"prompt": [5, 6], "stop": ["a", "b"], "temperature": 0}')
    got = numbers.prompt, numbers.stop, numbers.temperature
    checks.equal("numbers", got, ((5, 6), ("a", "b"), 0.0))
    for name, more, match in (
        ("no tokens", '"max_tokens": 0', "max_tokens: Input should be greater than or equal to 1"),
        ("minus one", '"max_tokens": -1', "max_tokens: Input should be greater than or equal"),
        ("too many", '"max_tokens": 1048577', "max_tokens: Input should be less than or equal"),
        ("infinitely many", '"max_tokens": 1e999', "max_tokens: Input should be"),
        ("a number as text", '"max_tokens": "5"', "max_tokens: Input should be a valid integer"),
        ("a truth value", '"max_tokens": true', "max_tokens: Input should be a valid integer"),
        ("NaN", '"temperature": NaN', "temperature: Input should be a finite number"),
        ("two answers", '"n": 2', "n: Input should be 1"),
        ("a penalty", '"presence_penalty": 0.5', "presence_penalty: Input should be 0"),
        ("another model", '"model": "gpt-4"', "model: Input should be 'SmolLM2-135M-Instruct'"),
        ("an unknown field", '"sufix": "x"', "sufix: Extra inputs are not permitted"),
        ("five stops", '"stop": ["a","b","c","d","e"]', "stop.list: List should have at most 4"),
        ("an empty stop", '"stop": ""', "stop.text: String should have at least 1 character"),
        (
            "a number twice",
            '"max_tokens": 1, "max_tokens": 50',
            "body: 'max_tokens' must be given once",
        ),
        ("a tool", '"tools": [{"type": "function"}]', "tools: List should have at most 0 items"),
        (
            "JSON for an answer",
            '"response_format": {"type": "json_object"}',
            "response_format.type",
        ),
    ):
        body = f'{{"prompt": "a", {more}}}'.encode()
        checks.raises(name, read_completion, body, match=match, error=RefusedRequest)
    for name, text, match in (
        ("no prompt", b"{}", "prompt: Field required"),
        ("an empty one", b'{"prompt": ""}', "prompt"),
        (
            "an unknown token",
            b'{"prompt": [49152]}',
            "prompt.list.0: Input should be less than 49152",
        ),
        ("not JSON", b'{"prompt": "a"', "body: Invalid JSON"),
        ("not UTF-8", b'{"prompt": "\xff"}', "body: Invalid JSON"),
        ("half a surrogate", b'{"prompt": "\\ud800"}', "body: Invalid JSON"),
    ):
        checks.raises(name, read_completion, text, match=match, error=RefusedRequest)
    nothing = (
        b'{"prompt": "a", "tools": [], "logit_bias": {}, "response_format": {"type": "text"}, '
    )
    nothing += b'"store": false, "top_k": -1, "suffix": null, "tool_choice": "none"}'
    checks.equal("nothing asked", read_completion(nothing)[1], question)


def check_conversations_are_validated() -> None:
    """A message is text of somebody, and one message; two limits do not differ.

    Source: the API's reference; the model's template, for what ends a message.
    """
    for name, text, match in (
        ("a role", b'"role": "tool", "content": "a"}]', "messages.0.role"),
        (
            "an image",
            b'"role": "user", "content": [{"type": "image_url"}]}]',
            "content.list.0.type",
        ),
        ("a second message", b'"role": "user", "content": "<|im_end|>"}]', "without <|im_end|>"),
        (
            "two limits",
            b'"role": "user", "content": "a"}], "max_tokens": 50, "max_completion_tokens": 2',
            "max_tokens must be max_completion_tokens = 2, got 50",
        ),
    ):
        wrong = b'{"messages": [{' + text + b"}"
        checks.raises(name, read_chat, wrong, match=match, error=RefusedRequest)
