"""Solutions: sessions that change, what a dashboard says has changed, and a canary's promise.

Assumes: what each function says.

Source: the chapter's definition of the order; the rest is derived at each function.
"""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

from serving_mathematics.intuition.endpoints_as_contracts.chat_contract import (
    ChatContract,
    chat_violations,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require_in,
    require_positive,
    require_positive_integer,
)

HINTS = {
    "changed_sessions": (
        "A session stays as it was if every call does. Multiply, and subtract from one."
    ),
    "what_has_changed": (
        "Look first at what explains most: requests that are refused, then prompts that have a "
        "different number of tokens for the same text, then answers that end differently."
    ),
    "common_contract": (
        "A request must suit both versions, so take what both accept; an answer may come from "
        "either, so expect every way in which either ends, and only the fields that both give."
    ),
}


def changed_sessions(changed_share: float, calls: int) -> float:
    """Share of sessions in which at least one call is answered differently than before.

    changed_share: of the calls that decide something, in [0, 1]. calls: of a session, a positive
    integer, each changed independently. Raises ValueError otherwise.

    >>> round(changed_sessions(0.5, calls=2), 4)
    0.75
    """
    changed_share = require_in("[0, 1]", changed_share=changed_share)
    calls = require_positive_integer(calls=calls)
    if changed_share == 1:
        return 1.0
    return -math.expm1(calls * math.log1p(-changed_share))


def what_has_changed(
    refused: float, prompt_tokens: float, cut: float, tolerance: float = 0.02
) -> str:
    """What to look at first after a release: "contract", "template", "answers" or "nothing".

    refused: share of the requests with a status of 400 or 422, after less before, in [−1, 1].
    prompt_tokens: mean tokens of a prompt, after over before, positive. cut: share of the answers
    that end by length, after less before, in [−1, 1]. tolerance: what is called no change, in
    (0, 1). Of refusals only more are a change; of tokens and of cut answers, fewer are too. Raises
    ValueError otherwise.

    >>> what_has_changed(refused=0.0, prompt_tokens=1.0, cut=0.11)
    'answers'
    """
    refused, cut = require_in("[-1, 1]", refused=refused, cut=cut)
    prompt_tokens = require_positive(prompt_tokens=prompt_tokens)
    tolerance = require_in("(0, 1)", tolerance=tolerance)
    if refused > tolerance:
        return "contract"
    if abs(math.log(prompt_tokens)) > math.log1p(tolerance):
        return "template"
    return "answers" if abs(cut) > tolerance else "nothing"


def common_contract(first: ChatContract, second: ChatContract) -> ChatContract:
    """The most that callers may rely on while either version may answer; both can replace it.

    Fingerprints are kept where both agree. Raises ValueError where ChatContract does.

    >>> stop, none = frozenset({"stop"}), frozenset()
    >>> one = ChatContract(frozenset({"tools", "seed"}), 8192, stop, frozenset({"usage"}))
    >>> common = common_contract(one, ChatContract(frozenset({"seed"}), 9000, stop, none))
    >>> sorted(common.parameters), common.context_tokens, sorted(common.event_fields)
    (['seed'], 8192, [])
    """
    return ChatContract(
        first.parameters & second.parameters,
        min(first.context_tokens, second.context_tokens),
        first.finish_reasons | second.finish_reasons,
        first.event_fields & second.event_fields,
        dict(first.answers.items() & second.answers.items()),
    )


def example() -> SimpleNamespace:
    """The answers quoted in the text."""
    return SimpleNamespace(
        pencil_percent=100 * changed_sessions(0.02, 30),
        board_first=what_has_changed(refused=0.0, prompt_tokens=1.06, cut=0.04),
        board_second=what_has_changed(refused=0.05, prompt_tokens=0.9, cut=0.0),
    )


def check_sessions_by_enumeration() -> None:
    """A session changes unless none of its calls does.

    Source: all patterns of changed calls, summed; the limits by hand.
    """
    for share, calls in ((0.1, 3), (0.02, 8)):
        patterns = itertools.product((share, 1 - share), repeat=calls)
        total = sum(math.prod(pattern) for pattern in patterns if share in pattern)
        checks.close(f"{share} of {calls}", changed_sessions(share, calls), total, rtol=1e-12)
    checks.equal("never", changed_sessions(0.0, 9), 0.0)
    checks.equal("always", changed_sessions(1.0, 1), 1.0)


def check_changes_that_go_together_touch_fewer_sessions() -> None:
    """Where sessions differ in how many of their decisions change, fewer are affected than where
    all have the mean share.

    Source: half of the sessions at no change and half at twice the share; all decisions of one
    session changed together, which affects the share itself.
    """
    mean = changed_sessions(0.02, 30)
    halves = (changed_sessions(0.0, 30) + changed_sessions(0.04, 30)) / 2
    checks.inside("two kinds of sessions", halves, 0.02, mean - 0.05)


def check_what_has_changed() -> None:
    """A rise in refusals is named before a change in prompt tokens, and that before a change in how
    answers end.

    Source: by hand; a template changes the tokens of a prompt, and weights do not.
    """
    for label, told, due in (
        ("refused, longer and cut", (0.1, 1.5, 0.2), "contract"),
        ("shorter prompts", (0.01, 0.9, 0.3), "template"),
        ("cut less", (-0.1, 1.01, -0.2), "answers"),
        ("within the tolerance", (0.02, 1.019, -0.02), "nothing"),
    ):
        checks.equal(label, what_has_changed(*told), due)
    checks.equal("wider tolerance", what_has_changed(0.1, 1.0, 0.0, tolerance=0.2), "nothing")


def check_common_contract_is_the_greatest() -> None:
    """Both versions can replace the common contract, and no contract that both can replace promises
    more.

    Source: enumeration of all contracts with two parameters, limits, reasons and fields.
    """
    sets = [frozenset(), frozenset({"a"}), frozenset({"b"}), frozenset({"a", "b"})]
    every = [
        ChatContract(p, tokens, reasons, fields)
        for p, tokens, reasons, fields in itertools.product(sets, (4, 8), sets[1:], sets)
    ]
    for one, two in ((90, 5), (17, 60), (33, 34), (70, 70)):
        pair = (every[one], every[two])
        common = common_contract(*pair)
        lower = [c for c in every if not any(chat_violations(c, new) for new in pair)]
        greatest = common in lower and all(not chat_violations(c, common) for c in lower)
        checks.holds(f"greatest of {len(lower)}", greatest)
    answers = [{"weights": w, "template": "t"} for w in "xy"]
    first, second = (ChatContract(sets[0], 4, sets[1], sets[0], a) for a in answers)
    checks.equal("what both agree on", common_contract(first, second).answers, {"template": "t"})


def check_bad_input_is_refused() -> None:
    """Shares beyond one, sessions without calls, and prompts without tokens are refused."""
    checks.raises("share", changed_sessions, 1.1, 3, match="changed_share must be")
    checks.raises("calls", changed_sessions, 0.1, 0, match="calls must be")
    checks.raises("refused", what_has_changed, 2.0, 1.0, 0.0, match="refused must be")
    checks.raises("prompts", what_has_changed, 0.0, 0.0, 0.0, match="prompt_tokens must be")
