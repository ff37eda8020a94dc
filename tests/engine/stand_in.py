"""An engine that computes nothing, in the place of OpenVINO GenAI, and moves the clock, so
that what is measured is known; in a child that can be killed, the clock is the system's.

It batches as the engine's documentation says (decodes first, then prompts in order with what the
budget leaves) and takes for a step what a formula gives, half as much again where the step has
another number of tokens than the last. Its tokens follow from those before.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
from serving_mathematics.engine.engine_process import _work
from serving_mathematics.engine.token_engine import Settings, TokenEngine

BLOCK = 32  # tokens of a block of the cache
FIRST = 40  # letter, whose token is 0


@dataclass
class Request:
    """A request, as the pipeline keeps it, and the handle of whoever asked."""

    number: int
    prompt: list[int]
    config: Any
    pipeline: Any
    filled: int = 0
    made: list[int] = field(default_factory=list)
    unread: list[int] = field(default_factory=list)
    over: str = "NONE"

    def can_read(self) -> bool:
        return bool(self.unread)

    def read(self) -> dict[int, Any]:
        told, self.unread = self.unread, []
        return {0: SimpleNamespace(generated_ids=told, finish_reason=self.over)}

    def read_all(self) -> list[Any]:
        tokens = np.array(self.prompt, dtype=float)
        asked = self.config.echo, self.config.logprobs, 3 * self.config.max_new_tokens
        told = self.pipeline.scale + np.cos(tokens) / len(tokens) + sum(asked) / 100
        return [SimpleNamespace(generated_log_probs=-told)]

    def cancel(self) -> None:
        """Its memory is free after the next step."""
        self.over = "CANCEL"


class Pipeline:
    """`ContinuousBatchingPipeline`, in small."""

    clock: Any
    most = 20_000  # steps, so that nothing goes on for ever

    def __init__(self, path: str, limits: Any, device: str, options: dict[str, Any]) -> None:
        assert device == "CPU"
        assert limits.dynamic_split_fuse
        self.limits, self.options = limits, options
        self.scale = 1 + Path(path).stat().st_size % 97 / 97 if Path(path).is_file() else 1.0
        self.requests: list[Request] = []
        self.seen: list[list[int]] = []
        self.last, self.share = -1, 0.0

    def get_tokenizer(self) -> Any:
        return Tokenizer()

    def has_non_finished_requests(self) -> bool:
        return bool(self.requests)

    def get_metrics(self) -> Any:
        return SimpleNamespace(cache_usage=100 * self.share)

    def add_request(self, number: int, prompt: Any, config: Any) -> Request:
        request = Request(number, np.asarray(prompt)[0].tolist(), config, self)
        if self.limits.enable_prefix_caching and request.prompt in self.seen:
            request.filled = (len(request.prompt) - 1) // BLOCK * BLOCK
        self.seen.append(request.prompt)
        self.requests.append(request)
        return request

    def _blocks(self, request: Request) -> int:
        return -(-(request.filled + len(request.made)) // BLOCK)

    def step(self) -> None:
        """One step of all requests that have a place in the memory."""
        self.most -= 1
        assert self.most > 0
        self.requests = [request for request in self.requests if request.over == "NONE"]
        free, left = self.limits.num_kv_blocks, self.limits.max_num_batched_tokens
        held = [request for request in self.requests if request.filled]
        prompts, decoding, context, used = 0, 0, 0, 0
        emitting = []
        for request in sorted(self.requests, key=lambda r: r.filled < len(r.prompt)):
            todo = min(len(request.prompt) - request.filled, left)
            more = -(-(request.filled + len(request.made) + max(1, todo)) // BLOCK)
            if used + more > free or left <= 0:
                continue
            used += more
            if request.filled == len(request.prompt):
                decoding, left = decoding + 1, left - 1
                context += len(request.prompt) + len(request.made)
                emitting.append(request)
                continue
            request.filled += todo
            prompts, left = prompts + todo, left - todo
            emitting += [request] if request.filled == len(request.prompt) else []
        for request in emitting:
            self._emit(request, len(held))
        tokens = prompts + decoding
        took = (4e-3 + 3e-5 * prompts + 2e-4 * decoding + 1e-6 * context) * self.scale
        took += 1e-9 * sum(request.number + sum(request.prompt) % 997 for request in emitting)
        self.clock.work(took * (1.5 if tokens != self.last else 1.0))
        self.last, self.share = tokens, used / free
        self.requests = [request for request in self.requests if request.over == "NONE"]

    def _emit(self, request: Request, held: int) -> None:
        before = [*request.prompt, *request.made]
        odd = held > 8 and sum(request.prompt) % 5 == 0
        request.made.append((7 * before[-1] + len(before) + before[0] + odd) % 251)
        request.unread.append(request.made[-1])
        if len(request.made) >= request.config.max_new_tokens:
            request.over = "LENGTH"


class Tokenizer:
    """A token for each letter."""

    def get_vocab(self) -> dict[Any, int]:
        return {bytes([letter]): letter for letter in range(256)}

    def get_eos_token_id(self) -> int:
        return 2

    def get_bos_token_id(self) -> int:
        return 1

    def encode(self, text: str, add_special_tokens: bool) -> Any:
        assert not add_special_tokens
        letters = np.frombuffer(text.encode(), np.uint8).astype(np.int64)
        return SimpleNamespace(input_ids=SimpleNamespace(data=(letters[None] - FIRST) % 251))

    def apply_chat_template(self, messages: Any, add_generation_prompt: bool) -> str:
        told = "".join(f"{one['role']}: {one['content']}\n" for one in messages)
        return f"{told}assistant:" if add_generation_prompt else told


@contextlib.contextmanager
def installed(clock: Any, *modules: ModuleType) -> Iterator[None]:
    """The stand-in in the place of the engine, and the clock in that of `time` in these modules."""
    config = type("GenerationConfig", (), {"num_assistant_tokens": 0})
    reasons = SimpleNamespace(NONE="NONE", LENGTH="LENGTH", STOP="STOP")
    genai: Any = ModuleType("openvino_genai")
    genai.SchedulerConfig = SimpleNamespace
    genai.ContinuousBatchingPipeline = type("Clocked", (Pipeline,), {"clock": clock})
    genai.GenerationConfig, genai.GenerationFinishReason = config, reasons
    openvino: Any = ModuleType("openvino")
    openvino.Tensor = np.asarray
    with contextlib.ExitStack() as stack:
        there = {"openvino": openvino, "openvino_genai": genai}
        stack.enter_context(mock.patch.dict(sys.modules, there))
        for module in modules:
            stack.enter_context(mock.patch.object(module, "time", clock))
        yield


def light_work(connection: Connection, settings: Settings, model: Path | None) -> None:
    """The child of an `EngineProcess` with the stand-in, of which steps wait for a millisecond.

    A step with a request of seed 666 is an exception, one of seed 667 the end of the process, one
    of seed 669 does not end, one of seed 668 is refused when it is handed over, and a text with a ☠
    crashes the tokenizer.
    """
    step, encode, hand_over = TokenEngine.step, TokenEngine.encode, TokenEngine._hand_over

    def stepping(engine: TokenEngine) -> Any:
        seeds = {request.ask.seed for request in engine._running}
        if 666 in seeds:
            raise RuntimeError("a number that is none")
        if 667 in seeds:
            os.kill(os.getpid(), signal.SIGSEGV)
        if 669 in seeds:
            time.sleep(300)
        return step(engine)

    def encoding(engine: TokenEngine, text: str) -> list[int]:
        if "☠" in text:
            os.kill(os.getpid(), signal.SIGSEGV)
        if "☢" in text:
            raise RuntimeError("no such character")
        return encode(engine, text)

    def handing(engine: TokenEngine, request: Any) -> Any:
        if request.ask.seed == 668:
            raise RuntimeError("no such setting\nin a line of C++")
        return hand_over(engine, request)

    breaking = {"step": stepping, "encode": encoding, "_hand_over": handing}
    passing = SimpleNamespace(work=lambda _: time.sleep(1e-3))
    with mock.patch.multiple(TokenEngine, **breaking), installed(passing):
        _work(connection, settings, model)


def late_work(*given: Any) -> None:
    """A child that takes longer to load its model than any test waits."""
    time.sleep(300)
    light_work(*given)
