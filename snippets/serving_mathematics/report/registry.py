"""All findings, in one place: each with what it needs, and what it is called.

A new finding is a function in a file of `findings`, a line here and its test. What a run lacks for
one is said, and is no finding.

Source: the order is that of the issue that asked for them: first whether the test can be believed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from serving_mathematics.report.comparison import ladder, step_model
from serving_mathematics.report.engine_names import WITHIN
from serving_mathematics.report.evidence import Run
from serving_mathematics.report.findings.finding import FEW, LEVELS, Asked, Finding
from serving_mathematics.report.findings.of_the_ceiling import (
    _no_engine,
    _no_rate,
    breaking_load,
    ceiling,
)
from serving_mathematics.report.findings.of_the_energy import joules
from serving_mathematics.report.findings.of_the_engine import (
    _no_own_times,
    binding,
    engine_changed,
    guesses,
    preemption,
    prefix_hits,
    queue_or_prefill,
    stalls,
)
from serving_mathematics.report.findings.of_the_objective import (
    _no_load,
    _undecided,
    canary,
    cost,
    goodput,
    load_kept,
)
from serving_mathematics.report.findings.of_the_tenants import tenants
from serving_mathematics.report.findings.of_the_test import (
    _without_warm_up,
    all_at_once,
    closed_loop,
    empty_answers,
    equal_lengths,
    failures,
    growing_queue,
    late_client,
    little_open,
    too_few,
    tpot_definition,
    warm_up,
)
from serving_mathematics.report.findings.of_the_traffic import (
    bursts,
    few_carry_most,
    lengths_follow_load,
    paced,
    retries,
    sessions,
)
from serving_mathematics.report.own_engine import LEAST_TOLD
from serving_mathematics.support import checks
from serving_mathematics.support.require import require


@dataclass(frozen=True)
class Rule:
    """A finding as it is looked for. find: makes it of a run. title: what it asks. needs: columns,
    told numbers (told:…), engine counters (engine:…) and what is asked (asked:…), in sets between
    bars, of which one must be there. least: requests or more, where columns are looked at. cold:
    whether a warm-up is part of it. beyond: what a run that has these may lack all the same; where
    a finding says nothing for that reason, nothing was looked for.

    >>> def too_few(_run, _asked): ...
    >>> rule = Rule(too_few, "Enough requests?", "told:completed | ttft_s sent_s")
    >>> rule.name, rule.lacks(Run("", ""), Asked())
    ('too_few', "the tool's completed")
    """

    find: Callable[[Run, Asked], Finding | None]
    title: str
    needs: str
    least: int = 0
    cold: bool = True
    beyond: Callable[[Run, Asked], str] = lambda _run, _asked: ""

    @property
    def name(self) -> str:
        """Of its function."""
        return self.find.__name__

    def lacks(self, run: Run, asked: Asked) -> str:
        """What a run would need, in words, by the sets that lack least; empty where it has it."""
        sets = [names.split() for names in self.needs.split("|")]
        missing = [[x for x in names if not _there(run, asked, x)] for names in sets]
        few = min(map(len, missing))
        if few:
            words = [" and ".join(map(_in_words, x)) for x in missing if len(x) == few]
            return " or ".join(dict.fromkeys(words))
        own = [names for names, lack in zip(sets, missing, strict=True) if not lack]
        short = run.size < self.least and all(any(":" not in x for x in names) for names in own)
        return f"{self.least:,} requests or more" if short else ""


def _there(run: Run, asked: Asked, name: str) -> bool:
    kind, _, counter = name.rpartition(":")
    if name == "asked:promise":
        return asked.promised
    if name == "asked:price":
        return asked.price_per_hour > 0
    if kind == "moments":
        return run.series is not None and run.series.level("running").size >= int(counter)
    if kind == "within":
        return run.series is not None and f"{counter}{WITHIN}inf" in run.series.values
    if kind == "gaps":
        return run.gaps_s.size > 0
    if kind == "engine":
        level = run.series.level(counter) if run.series is not None else np.zeros(0)
        may_stay_0 = counter in ("aborted", "refused")  # where nothing counts them
        return bool((level > 0).any() if may_stay_0 else level.size)
    if kind == "told":
        return counter in run.told
    if name == "shares_prefix":
        return run.shares_prefix == run.shares_prefix
    return run.has(name)


def _in_words(name: str) -> str:
    kind, _, counter = name.rpartition(":")
    known = {
        "sent_s": "when each request was sent",
        "due_s": "when each was due",
        "ttft_s": "each time to first token",
        "latency_s": "each latency",
        "queue_s": "each time in the queue",
        "prompt_tokens": "tokens of each prompt",
        "output_tokens": "tokens of each answer",
        "failed": "which failed",
        "tenant": "whose each request is",
        "joules": "joules of each request",
        "gaps:": "gaps between tokens",
        "asked:promise": "a promised time",
        "asked:price": "a price",
    }
    if name in known:
        return known[name]
    if kind == "moments":
        return f"{counter} moments or more"
    if kind == "engine":
        return f"the engine's {counter.replace('_', ' ')}"
    if name.endswith("power_w"):
        return f"a power of {'the devices' if kind == 'engine' else 'the whole run'}"
    if kind in ("told", "within"):
        return f"the tool's {counter.removesuffix('_s').replace('_', ' ')}"
    return name.replace("_", " ")


OBJECTIVE = "Is the objective kept?"
STEPS_TOLD = "sent_s ttft_s latency_s prompt_tokens output_tokens"  # by which an engine's are
PROMISED = (  # tells whether a promise is kept
    "ttft_s asked:promise | told:ttft_s asked:promise | told:tpot_s asked:promise"
    " | told:ttft_p99_s asked:promise | within:ttft asked:promise | within:tpot asked:promise"
)
FINDINGS = (
    Rule(
        late_client,
        "Did the client send in time?",
        "due_s sent_s | told:delay_p99_s | told:rate_asked",
    ),
    Rule(
        growing_queue,
        "Was the load served?",
        "sent_s ttft_s | sent_s latency_s | told:rate_asked told:duration_s told:ttft_s",
        FEW,
    ),
    Rule(closed_loop, "Did clients wait for answers?", "told:concurrency | sent_s latency_s", FEW),
    Rule(all_at_once, "Was everything sent at once?", "told:rate_asked | sent_s latency_s", 20),
    Rule(failures, "Did requests fail?", "failed | told:failed | engine:aborted | engine:refused"),
    Rule(warm_up, "Is a warm-up among the answers?", "ttft_s | latency_s", FEW),
    Rule(too_few, "Enough requests for the percentile?", "ttft_s | latency_s | told:completed"),
    Rule(empty_answers, "Do answers have tokens?", "output_tokens"),
    Rule(tpot_definition, "What is a time per token here?", "told:tpot_s"),
    Rule(
        little_open,
        "Do rate, latency and number fit?",
        "told:concurrency told:completed | told:in_flight",
    ),
    Rule(equal_lengths, "Are lengths as users have them?", "prompt_tokens | output_tokens", FEW),
    Rule(
        binding,
        "What binds?",
        "engine:running engine:waiting moments:10 | sent_s queue_s latency_s",
        FEW,
    ),
    Rule(
        queue_or_prefill,
        "Queue or prompt?",
        "queue_s ttft_s | engine:queue_s engine:ttft_s | sent_s ttft_s latency_s",
        FEW,
        beyond=_no_own_times,
    ),
    Rule(engine_changed, "One engine all the time?", STEPS_TOLD),
    Rule(preemption, "Preempted?", "engine:preemptions"),
    Rule(prefix_hits, "Are prefixes found?", "engine:prefix_found | cached_tokens | shares_prefix"),
    Rule(guesses, "Are guesses accepted?", "engine:draft_tokens | told:draft_tokens"),
    Rule(stalls, "Do answers stall?", "gaps:"),
    Rule(bursts, "Does it burst?", "sent_s", FEW),
    Rule(paced, "Is it too even?", "sent_s", FEW),
    Rule(lengths_follow_load, "Do lengths follow the load?", "sent_s prompt_tokens", FEW),
    Rule(few_carry_most, "Do few bring most?", "prompt_tokens", 5 * FEW),
    Rule(sessions, "Do requests follow each other?", "session", FEW),
    Rule(tenants, "Who makes whom wait?", "tenant", FEW),
    Rule(retries, "Are requests sent again?", "attempt"),
    Rule(goodput, OBJECTIVE, PROMISED, 20, cold=False, beyond=_undecided),
    Rule(
        load_kept,
        "Up to which load?",
        "sent_s ttft_s latency_s asked:promise",
        3 * FEW,
        cold=False,
        beyond=_no_load,
    ),
    Rule(
        breaking_load,
        "Where does it break?",
        f"{STEPS_TOLD} asked:promise",
        LEAST_TOLD,
        cold=False,
        beyond=_no_rate,
    ),
    Rule(ceiling, "How near the ceiling?", STEPS_TOLD, LEAST_TOLD, cold=False, beyond=_no_engine),
    Rule(canary, "How large a canary?", "ttft_s asked:promise", FEW, cold=False),
    Rule(
        cost,
        "What does a token cost?",
        "output_tokens asked:price | told:output_tokens asked:price",
    ),
    Rule(
        joules, "What does a token draw?", "told:power_w | engine:power_w | engine:joules | joules"
    ),
)


@dataclass(frozen=True)
class Report:
    """What was found, worst first; what was looked for and not found; and what could not be told.

    >>> Report((), (), (), ("too_few",), ()).worst
    ''
    """

    runs: tuple[Run, ...]
    findings: tuple[Finding, ...]
    problems: tuple[str, ...]  # of files that could not be read
    quiet: tuple[str, ...]  # names that said nothing, of some run that has what they need
    untold: tuple[tuple[str, str], ...]  # titles, and what would be needed

    @property
    def unjudged(self) -> str:
        """What would tell whether the objective is kept, where one was asked and nothing did."""
        return dict(self.untold).get(OBJECTIVE, "")

    @property
    def worst(self) -> str:
        """The worst level; "" where nothing was found."""
        levels = {finding.level for finding in self.findings}
        return next((level for level in LEVELS if level in levels), "")


def report(runs: Sequence[Run], asked: Asked, problems: Sequence[str] = ()) -> Report:
    """Everything that some runs say.

    runs: of one test or log. asked: the objective and the price; of metrics of SGLang the flags are
    SGLang's, whatever is asked. problems: of files that could not be read. Raises ValueError on
    negative numbers, but for moments.

    >>> found = report([Run("a", "", told={"completed": 9.0, "failed": 1.0})], Asked())
    >>> [finding.name for finding in found.findings]
    ['failures', 'too_few']
    """
    for run in runs:
        for name, column in run.columns.items():
            known = name in ("due_s", "sent_s") or not bool((column < 0).any())
            require(known, name, f"not negative in {run.where or 'the run'}", column)
    if any(run.tool == "SGLang" for run in runs):
        asked = replace(asked, engine="sglang")
    found: list[Finding] = []
    quiet, untold = [], []
    warm = [_without_warm_up(run) for run in runs]
    for rule in FINDINGS:
        told = [run for run in (runs if rule.cold else warm) if not rule.lacks(run, asked)]
        own = [
            replace(one, name=rule.name, where=run.where)
            for run in told
            if (one := rule.find(run, asked)) is not None
        ]
        found += own
        more = [] if own else [rule.beyond(run, asked) for run in told]
        if told and not own:
            untold += [(rule.title, more[0])] if all(more) else []
            quiet += [] if all(more) else [rule.name]
        if not told and runs:
            untold.append((rule.title, rule.lacks(runs[0], asked)))
    for look in (ladder, step_model):
        if (one := look(runs, asked)) is not None:
            found.append(replace(one, name=look.__name__))
    ranks = {finding.name: place for place, finding in reversed(list(enumerate(found)))}
    order = sorted(found, key=lambda one: (LEVELS.index(one.level), ranks[one.name]))
    return Report(tuple(runs), tuple(order), tuple(problems), tuple(quiet), tuple(untold))


def check_every_finding_is_registered() -> None:
    """Each function of the themes that makes a finding stands in the table, once.

    Source: the names of the modules.
    """
    import importlib
    import inspect

    names = ("test", "engine", "traffic", "tenants", "objective", "ceiling", "energy")
    package = "serving_mathematics.report.findings"
    made = [
        name
        for theme in (importlib.import_module(f"{package}.of_the_{one}") for one in names)
        for name, function in inspect.getmembers(theme, inspect.isfunction)
        if function.__module__ == theme.__name__
        and inspect.signature(function).return_annotation == "Finding | None"
        and not name.startswith("_")
    ]
    checks.equal("functions", sorted(made), sorted(rule.name for rule in FINDINGS))


def check_worst_comes_first() -> None:
    """Problems stand before warnings, and these before notes.

    Source: the levels of a run that has all three.
    """
    told = {"completed": 50.0, "failed": 20.0, "rate_asked": np.inf, "concurrency": 4.0}
    found = report([Run("a", "", told=told)], Asked()).findings
    checks.equal("levels", [one.level for one in found], ["problem", "warning", "note"])
