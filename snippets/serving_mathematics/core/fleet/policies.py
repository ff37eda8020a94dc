"""Who comes in, who is next, who gives way, and when a refused request comes back.

`admit(request, view)` says after how many seconds a request may be routed: 0 for now, infinity for
never. `schedule` and `preempt` are `rank(request, ledger)`, `retry` is `pause(request, attempt,
view)`. `functools.partial` binds other parameters.

Source: vLLM, scheduling policy "priority"; Sheng et al. (2024) for budgets beside fair sharing;
Turner (1986) for the bucket; openai-python, _base_client.py, for retries and their pauses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from serving_mathematics.core.fleet.ledger import Ledger
from serving_mathematics.core.fleet.sharing import session_of
from serving_mathematics.core.fleet.view import View
from serving_mathematics.support.require import (
    as_number,
    require,
    require_all_positive,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
)


def token_budgets(
    request: int, view: View, tokens_per_s: Sequence[float], burst_tokens: Sequence[float]
) -> float:
    """Each tenant may send so many tokens a second, prompts and answers together, and so many at
    once when it was quiet; who sends more waits until its bucket has filled up.

    tokens_per_s, burst_tokens: of each tenant, positive. A request of more tokens than the burst
    waits for a full bucket and leaves it in debt, so that the rate holds. Raises ValueError on
    other budgets.

    >>> from functools import partial
    >>> from serving_mathematics.core.fleet.trying import admissions
    >>> admissions(partial(token_budgets, tokens_per_s=[100.0], burst_tokens=[168.0]))
    [0.0, 0.1, 0.84, 1.68]
    """
    memory = view.memory
    if "buckets" not in memory:
        memory["rates"], memory["bursts"] = require_all_positive(
            tokens_per_s=tokens_per_s, burst_tokens=burst_tokens
        )
        tenants = int(view.ledger.requests.tenant.max()) + 1
        for name, given in (("tokens_per_s", tokens_per_s), ("burst_tokens", burst_tokens)):
            require(len(given) >= tenants, name, f"one for each of {tenants} tenants", len(given))
        memory["buckets"] = [[float(burst), 0.0] for burst in burst_tokens]  # tokens, moment
    asked = view.ledger.requests
    who = int(asked.tenant[request])
    bucket = memory["buckets"][who]
    rate, burst = memory["rates"][who], memory["bursts"][who]
    bucket[0] = min(burst, bucket[0] + rate * (view.now - bucket[1]))
    bucket[1] = view.now
    tokens = int(asked.prompt_tokens[request] + asked.output_tokens[request])
    missing = min(tokens, burst) - bucket[0]
    if missing > 1e-9 * burst:
        return float(missing / rate)
    bucket[0] -= tokens
    return 0.0


def few_sessions(request: int, view: View, most: float, idle_s: float) -> float:
    """No session begins while so many are open; what belongs to an open one always comes in.

    most: 1 or more. idle_s: a session is open until nothing of it was sent for so long [s]. Raises
    ValueError on other limits.

    >>> from functools import partial
    >>> from serving_mathematics.core.fleet.trying import admissions
    >>> admissions(partial(few_sessions, most=2, idle_s=0.25))  # the third is turned away
    [0.0, 0.1, 0.3]
    """
    memory, after = view.memory, view.ledger.requests.after
    if "open" not in memory:
        memory["most"] = as_number(most=most)
        require(memory["most"] >= 1, "most", "1 or more", most)
        memory["idle"] = require_positive(idle_s=idle_s)
        memory["session"] = session_of(view.ledger.requests).tolist()
        memory["open"] = {}  # when something of it was sent, the longest ago first
    sent, session = memory["open"], memory["session"][request]
    while sent and view.now - next(iter(sent.values())) > memory["idle"]:
        del sent[next(iter(sent))]
    if session not in sent and len(sent) >= memory["most"] and after[request] < 0:
        return math.inf
    sent.pop(session, None)
    sent[session] = view.now
    return 0.0


def by_priority(request: int, ledger: Ledger) -> float:
    """The priority of a request; the smaller, the sooner it is admitted and the later preempted.

    >>> from serving_mathematics.core.fleet.requests import Requests
    >>> by_priority(1, Ledger(Requests([0.0, 0.0], [9, 9], [1, 1], priority=[0, 5])))
    5.0
    """
    return float(ledger.requests.priority[request])


def shortest_prompt(request: int, ledger: Ledger) -> float:
    """Short prompts before long ones.

    >>> from serving_mathematics.core.fleet.requests import Requests
    >>> shortest_prompt(1, Ledger(Requests([0.0, 0.0], [9, 7], [1, 1])))
    7.0
    """
    return float(ledger.prompt[request])


def shortest_answer(request: int, ledger: Ledger) -> float:
    """Short answers before long ones: an oracle, since nobody knows them beforehand.

    >>> from serving_mathematics.core.fleet.requests import Requests
    >>> shortest_answer(1, Ledger(Requests([0.0, 0.0], [9, 7], [1, 3])))
    3.0
    """
    return float(ledger.output[request])


def back_off(
    _request: int,
    attempt: int,
    view: View,
    max_retries: int = 2,
    initial_s: float = 0.5,
    max_s: float = 8.0,
    jitter: float = 0.25,
) -> float:
    """A pause that doubles with each attempt, a little shorter by chance; infinity after the last.

    attempt: how often it was refused, from 1. jitter: largest share by which a pause is shorter.
    Raises ValueError on negative numbers. Source: openai-python, max_retries 2, from 0.5 to 8 s.

    >>> from types import SimpleNamespace
    >>> back_off(0, 1, SimpleNamespace(chance=lambda: 1.0))
    0.375
    """
    attempt = require_positive_integer(attempt=attempt)
    max_retries, initial_s, max_s = require_non_negative(
        max_retries=max_retries, initial_s=initial_s, max_s=max_s
    )
    jitter = require_in("[0, 1]", jitter=jitter)
    if attempt > max_retries:
        return math.inf
    pause_s = min(initial_s * 2.0 ** min(attempt - 1, 60), max_s)
    return pause_s * (1 - jitter * view.chance())
