"""What vLLM's engine does in each step, written to the file that `ENGINE_STEPS` names.

A plugin that vLLM loads in each of its processes, by an entry point. It wraps two methods and
changes neither: a step of the engine's process, and what that step has the worker's process do.
A line is JSON. The worker's come before the line of the step that they belong to.

Source: vLLM 0.32, `v1/engine/core.py`, `v1/core/sched/output.py`; plugins, `vllm.general_plugins`.
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

LOG = "ENGINE_STEPS"


def counts(scheduled: Any, prompt_tokens: Callable[[str], int]) -> dict[str, Any]:
    """Tokens of a step, from what the scheduler put into it.

    scheduled: vLLM's SchedulerOutput. prompt_tokens: of a request's prompt, by its name. A request
    decodes when its prompt is computed; it then reads what is computed and its own token.
    """
    before = {one.req_id: one.num_computed_tokens for one in scheduled.scheduled_new_reqs}
    cached = scheduled.scheduled_cached_reqs
    before |= dict(zip(cached.req_ids, cached.num_computed_tokens, strict=True))
    told = {"prompt_tokens": 0, "prompt_pairs": 0, "decoding": 0, "context_tokens": 0}
    for name, size in scheduled.num_scheduled_tokens.items():
        done = before[name]
        if done >= prompt_tokens(name):
            told["decoding"] += 1
            told["context_tokens"] += done + 1
        else:
            told["prompt_tokens"] += size
            told["prompt_pairs"] += size * done + size * (size + 1) // 2
    return told | {"exact": not (scheduled.preempted_req_ids or cached.resumed_req_ids)}


def joined(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The steps of a log, each with what its worker did not get of its processor, in `cpu_s`: the
    step without the time that the worker waited for it."""
    waited_s = 0.0
    for line in lines:
        told = json.loads(line)
        if "worked_s" in told:
            waited_s += max(0.0, told["worked_s"] - told["cpu_s"])
        else:
            yield told | {"cpu_s": told["wall_s"] - waited_s}
            waited_s = 0.0


def register() -> None:
    """Wrap the methods; vLLM calls this in each process."""
    if LOG not in os.environ:
        return
    from vllm.v1.core.sched.scheduler import Scheduler
    from vllm.v1.engine.core import EngineCore
    from vllm.v1.worker.gpu_worker import Worker

    log = Path(os.environ[LOG]).open("a", encoding="utf-8", buffering=1)  # noqa: SIM115 (as long as the process)

    def wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
        method = getattr(owner, name)

        @functools.wraps(method)
        def wrapped(self: Any, *given: Any, **named: Any) -> Any:
            return around(self, functools.partial(method, self, *given, **named))

        setattr(owner, name, wrapped)

    def schedule(self: Any, method: Callable[[], Any]) -> Any:
        scheduled = method()
        self.last_counts = counts(scheduled, lambda name: self.requests[name].num_prompt_tokens) | {
            "running": len(self.running),
            "waiting": len(self.waiting),
            "cache_share": self.kv_cache_manager.usage,
        }
        return scheduled

    def step(self: Any, method: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        outputs, executed = method()
        if executed:
            took = {"started_s": began, "wall_s": time.perf_counter() - began}
            log.write(json.dumps(took | self.scheduler.last_counts) + "\n")
        return outputs, executed

    def work(_: Any, method: Callable[[], Any]) -> Any:
        began, cpu = time.perf_counter(), time.thread_time()
        result = method()
        took = {"worked_s": time.perf_counter() - began, "cpu_s": time.thread_time() - cpu}
        log.write(json.dumps(took) + "\n")
        return result

    wrap(Scheduler, "schedule", schedule)
    wrap(EngineCore, "step", step)
    wrap(Worker, "execute_model", work)
    wrap(Worker, "sample_tokens", work)
