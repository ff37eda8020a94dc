"""Every public function, and every dataclass that refuses, with every numeric argument of its
example replaced by a bad number.

The example is the first call in the function's doctest; simulations, which have none, have short
arguments here. A number is replaced by NaN, infinity, -1, 0, 2⁶³, 10⁴⁰⁰, a complex number and text,
an element of an array by the first five and a complex number. Allowed is an answer without NaN, or
a ValueError that names an argument; NaN, complex numbers and text have no answer. Text and complex
numbers may end in a TypeError, which a type checker tells before; 2⁶³ may also be more than an
array can hold, as numpy says at once. Nothing takes longer than two seconds of processor time.

A refusal says the rule in words, and those of each function are kept, by argument, as
`python -m tests.keep` finds them: a rule that is another, or gone, is seen there, and no other test
repeats it. Where it is a range, `tests/test_keep.py` has its ends tried too: one that belongs to
the range is taken, of whole numbers the next one too, and the number next to it outside is not. Of
an order, equal neighbours are tried, and neighbours that change places.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import doctest
import functools
import gc
import importlib
import inspect
import io
import itertools
import math
import pickle
import random
import re
import resource
import signal
import time
import traceback
import types
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.planner.questions.traffic import Traffic

from builder import PACKAGE, ROOT
from builder.source import holds_exercises, module_names

from .held_constants import held_constants
from .profiles import THOROUGH
from .recorded import HERE

BAD: dict[str, Any] = {
    "NaN": math.nan,
    "infinity": math.inf,
    "-1": -1,
    "0": 0,
    "2**63": 2**63,
    "10**400": 10**400,
    "1j": 1j,
    "text": "",
}
HAS_NO_ANSWER = ("NaN", "1j", "text")
LIMIT_S = 2.0
MORE_BYTES = 4 << 30
PROBES = (
    -1,
    0,
    1,
    1.5,
    math.nan,
    math.inf,
    -math.inf,
    10**12,
    2**63,
)  # make a function say its rules
PROBE_S = 0.06  # of processor time; refusals come within 8 ms of a fast one
ENDINGS = {  # where Python's callbacks of weak references stand
    kind.__init__.__code__.co_filename for kind in (weakref.WeakKeyDictionary, weakref.WeakSet)
}
SOON_S = 0.01  # of processor time, after which a call is ended that could not be at once
FARTHEST = 10_000  # end of a range that is tried: what is beyond is large for the sake of work
SAMPLE = 0.12  # of the calls, where not all are made
ELEMENTWISE = {  # of the loop of a fit: what has no answer makes no answer, element by element
    "core.hardware.step_time.message_s",
    "core.hardware.step_time.roof_s",
    "core.hardware.step_time.touched_experts",
}
OTHER_KINDS = {  # arguments that are a number in the example, and may be anything
    "core.servers.inference_bodies.read_body.json_bytes": "is called by its header field",
    "engine.token_engine.plan_step.decoding": "once a step, of an engine that has checked",
    "engine.token_engine.plan_step.token_budget": "the same",
    "core.hardware.deployments.possible.value": (
        "is what the message quotes, where it does not raise"
    ),
    "machine.predictions.table_rows.number.low": "a limit, which is not checked",
    "core.servers.wire_format.field.value": "text and bytes are values of a field",
    "core.fleet.batching.serve.place": "of an engine in the ledger, which gave it",
    "core.fleet.design.never._request": "is the simulator's",
    "core.fleet.design.never._attempt": "is the simulator's",
    "report.evidence.Run.shares_prefix": "is NaN where nothing tells it",
    "planner.questions.objectives.Objective.limit": "is called by its field",
    "planner.questions.objectives.Objective.share": "the same",
    "core.fleet.sharing.prefixes_of_ids.ids": "names of what prompts begin with, hashable",
    "core.fleet.moments.moments_s.lines": "what a refusal calls a row",
    "core.fleet.policies.token_budgets.request": "is the simulator's",
    "core.fleet.policies.few_sessions.request": "is the simulator's",
    "core.fleet.policies.by_priority.request": "is the simulator's",
    "core.fleet.policies.shortest_prompt.request": "is the simulator's",
    "core.fleet.policies.shortest_answer.request": "is the simulator's",
    "core.fleet.policies.back_off._request": "is the simulator's",
    "core.fleet.routers.round_robin._request": "is the simulator's",
    "core.fleet.routers.at_random._request": "is the simulator's",
    "core.fleet.routers.power_of_two._request": "is the simulator's",
    "core.fleet.routers.least_requests._request": "is the simulator's",
    "core.fleet.routers.by_session.request": "is the simulator's",
    "core.fleet.routers.cache_aware.request": "is the simulator's",
    "core.fleet.routers.endpoint_picker.request": "is the simulator's",
    "core.fleet.routers.least_work.request": "is the simulator's",
    "architecture.model_routers.prefix_routing.prefix_first.request": "is the simulator's",
    "architecture.model_routers.prefix_routing.hash_bounded.request": "is the simulator's",
}
WITH_GAPS = {  # arguments in which NaN stands for what is not there, as the docstring promises
    "definitions.slo_sla.joint_objective.joint_attainment.tpot_s": "of answers of one token",
    "machine.predictions.own_runs.fit_moves.first_token_s": "of first tokens that are not fitted",
    "planner.capacity_planner.judged_requests.sectioned_quantiles.values": "of what has no value",
}
ARGUMENTS: dict[str, dict[str, Any]] = {  # of functions without an example, beside the generator
    "report.faults.served": {"count": 60},
    "planner.questions.traffic.share_of_traffic": {
        "traffic": Traffic(6.0, arrival_scv=2.0),
        "replicas": 2,
        "requests": 50,
    },
    "planner.questions.traffic.shares_of_trace": {
        "asked": Workload(np.arange(50.0), np.full(50, 3), np.full(50, 4)),
        "replicas": 2,
        "requests": 20,
    },
    "reference.simulation_trust.coverages": {"utilization": 0.5, "batch_customers": 9, "runs": 3},
}
LEFT_OUT = {
    "architecture.batch_serving.shard_files.make_manifest": "its example removes the file",
    "architecture.batch_serving.shard_scorer.score_rows": "the same",
    "core.servers.rest_server.serve": "serves until it is stopped",
}


class TooSlow(BaseException):
    """A call is not ended by what it catches."""


def ring(problem: type[BaseException]) -> Callable[[int, types.FrameType | None], None]:
    """A signal's handler that ends a call. Where it falls into what Python calls while it looks for
    garbage, or when a weak reference ends, which would print the error and go on, it rings
    again soon."""

    def rings(_: int, frame: types.FrameType | None) -> None:
        of_garbage = {getattr(one, "__code__", None) for one in gc.callbacks}
        while frame:
            if frame.f_code in of_garbage or frame.f_code.co_filename in ENDINGS:
                signal.setitimer(signal.ITIMER_PROF, SOON_S)
                return
            frame = frame.f_back
        raise problem

    return rings


class _Called(BaseException):
    pass


def public(module: types.ModuleType) -> dict[str, Callable[..., Any]]:
    """Functions of a module that others may call, and that return when they are done."""
    found = {}
    for name, value in vars(module).items():
        ours = isinstance(value, types.FunctionType) and value.__module__ == module.__name__
        if ours and not name.startswith(("_", "check_", "figure_", "slider_")):
            waits = inspect.iscoroutinefunction(value) or hasattr(value, "__wrapped__")
            if name not in ("example", "main") and not waits:
                found[name] = value
    return found


def example_call(module: types.ModuleType, name: str) -> inspect.BoundArguments | None:
    """The first call of a function in its own doctest, with the defaults; None without any."""
    function, calls = vars(module)[name], list[inspect.BoundArguments]()

    def noted(*arguments: Any, **named: Any) -> Any:
        with contextlib.suppress(TypeError):
            bound = inspect.signature(function).bind(*arguments, **named)
            bound.apply_defaults()
            calls.append(copied(bound))
            raise _Called
        return function(*arguments, **named)

    finder = doctest.DocTestFinder(recurse=False)
    for test in finder.find(function, name, module=False, globs=dict(vars(module))):  # type: ignore[arg-type]  # False: any
        test.globs[name] = noted
        with contextlib.suppress(_Called), contextlib.redirect_stdout(io.StringIO()):
            for example in test.examples:
                with contextlib.suppress(Exception):  # which it may be about
                    exec(compile(example.source, name, "exec"), test.globs)
    return calls[0] if calls else None


@functools.cache
def call_of(module: types.ModuleType, name: str, full_name: str) -> inspect.BoundArguments:
    """The call that a function is tried with, to be copied; without any it must be given one. It is
    of the held constants, whoever asks first.
    """
    arguments = ARGUMENTS.get(full_name)
    with held_constants():
        call = None if arguments is not None else example_call(module, name)
    if call is None:
        told = "needs an example, or ARGUMENTS in tests/test_bad_input.py"
        assert arguments is not None, f"{full_name} {told}"
        rng = np.random.default_rng(1)
        call = inspect.signature(vars(module)[name]).bind(rng, **arguments)
        call.apply_defaults()
    return call


def calls_of(name: str) -> Iterator[tuple[str, Callable[..., Any], inspect.BoundArguments]]:
    """The public functions of a module that are tried, each with its name and its call."""
    module = importlib.import_module(f"{PACKAGE}.{name}")
    for title, function in public(module).items():
        if (full_name := f"{name}.{title}") not in LEFT_OUT:
            yield title, function, call_of(module, title, full_name)


def constructors_of(
    name: str,
) -> Iterator[tuple[str, Callable[..., Any], inspect.BoundArguments]]:
    """The same of its dataclasses that promise to refuse, and are made in their own example."""
    module = importlib.import_module(f"{PACKAGE}.{name}")
    for title, value in list(vars(module).items()):
        ours = dataclasses.is_dataclass(value) and value.__module__ == module.__name__
        refuses = ours and "Raises ValueError" in (value.__doc__ or "")
        if refuses and (call := example_call(module, title)):
            yield title, value, call


def copied(bound: inspect.BoundArguments, **others: Any) -> inspect.BoundArguments:
    """Arguments that a call may change, with others in the place of some; what cannot be copied is
    shared."""
    other = copy.copy(bound)
    other.arguments = {
        name: others[name] if name in others else copy_of(value)
        for name, value in bound.arguments.items()
    }
    return other


def copy_of(value: Any) -> Any:
    """A value with nothing in common with another: pickled, which is many times as fast as
    `copy.deepcopy`, where that can be; itself where it cannot be copied."""
    if type(value) in (bool, int, float, complex, str, bytes, type(None)):
        return value
    for duplicate in (_pickled, copy.deepcopy):
        with contextlib.suppress(Exception):
            return duplicate(value)
    return value


def _pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))


def is_number(value: object) -> bool:
    """Whether a number is meant; a truth value is none."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def is_sequence(value: object) -> bool:
    """Whether it has elements in a row."""
    return type(value) in (list, tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def replacements(value: Any) -> Iterator[tuple[str, Any]]:
    """What is tried in the place of a value, with a name."""
    if is_number(value):
        yield from BAD.items()
    elements = value.ravel().tolist() if isinstance(value, np.ndarray) else value
    if type(elements) in (list, tuple) and elements and all(map(is_number, elements)):
        for name in ("NaN", "infinity", "-1", "0", "2**63", "1j"):
            changed = [BAD[name], *elements[1:]]
            if isinstance(value, np.ndarray):
                yield f"[{name}]", np.array(changed).reshape(value.shape)
            else:
                yield f"[{name}]", type(value)(changed)


def unsound(value: Any, depth: int = 0) -> bool:
    """Whether an answer holds NaN or a complex number."""
    if isinstance(value, float | complex | np.ndarray | np.number):
        array = np.asarray(value)
        return array.dtype.kind == "c" or (array.dtype.kind == "f" and bool(np.isnan(array).any()))
    if depth > 3:
        return False
    if dataclasses.is_dataclass(value):
        value = vars(value) if hasattr(value, "__dict__") else {}
    inside = value.values() if isinstance(value, Mapping) else value
    return isinstance(inside, list | tuple | type({}.values())) and any(
        unsound(part, depth + 1) for part in inside
    )


def told(problem: Exception) -> str:
    """An error, with the line of ours that it comes from."""
    frames = traceback.extract_tb(problem.__traceback__)
    places = [frame for frame in frames if PACKAGE in frame.filename]
    place = f" at {Path(places[-1].filename).name}:{places[-1].lineno}" if places else ""
    return f"{problem!r}"[:200] + place


def answered(
    function: Callable[..., Any],
    bound: inspect.BoundArguments,
    limit_s: float,
    numpy: Literal["ignore", "warn"] = "ignore",
) -> Any:
    """What a call answers, the first of it where that is a generator, in so much time."""
    with (
        np.errstate(over=numpy, divide=numpy, invalid=numpy, under="ignore"),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        signal.setitimer(signal.ITIMER_PROF, limit_s)
        try:
            answer = function(*bound.args, **bound.kwargs)
            return next(answer, None) if inspect.isgenerator(answer) else answer
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)


def verdict(function: Callable[..., Any], bound: inspect.BoundArguments, bad: str) -> str:
    """What is wrong with how a call ends; empty when nothing is."""
    kind = bad.strip("[]")
    try:
        answer = answered(function, bound, LIMIT_S)
    except TooSlow:
        return f"takes more than {LIMIT_S:g} s"
    except (ValueError, TypeError) as problem:
        named = any(name in str(problem) for name in bound.signature.parameters)
        typed = kind in ("1j", "text") or isinstance(problem, np.exceptions.ComplexWarning)
        sized = kind == "2**63" and isinstance(problem, ValueError)
        return (
            "" if typed or sized or (named and isinstance(problem, ValueError)) else told(problem)
        )
    except np.exceptions.ComplexWarning:
        return ""
    except Exception as problem:
        sized = kind == "2**63" and isinstance(problem, OverflowError | MemoryError)
        return "" if sized else told(problem)
    if unsound(answer):
        return f"answers {answer!r}"[:200]
    return f"answers {answer!r}"[:200] if kind in HAS_NO_ANSWER else ""


@functools.cache
def called_modules() -> list[str]:
    """All that need no more than numpy, solutions of exercises among them."""
    return [name for name in module_names(ROOT) if not HERE.sources.needs(name)]


@functools.cache
def computing_modules() -> list[str]:
    """The same without exercises, of which nothing is kept."""
    return [name for name in called_modules() if not holds_exercises(name)]


@pytest.fixture
def limited() -> Iterator[None]:
    """A signal that ends a call, whose handler stays for one that comes late, and a limit on what
    memory it takes: an array may be too large for the machine and not for numpy."""
    memory = Path("/proc/self/statm")
    if memory.is_file():
        held = int(memory.read_text().split()[0]) * resource.getpagesize()
        kept = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (held + MORE_BYTES, kept[1]))
    signal.signal(signal.SIGPROF, ring(TooSlow))
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.signal(signal.SIGPROF, signal.SIG_IGN)
    if memory.is_file():
        resource.setrlimit(resource.RLIMIT_AS, kept)


@pytest.mark.skipif(not hasattr(signal, "SIGPROF"), reason="needs a clock of processor time")
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::ResourceWarning")  # of what is ended
@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("name", called_modules())
def test_bad_numbers_are_refused_by_name(name: str) -> None:
    draw, found = random.Random(name), list[str]()
    for title, function, call in (*calls_of(name), *constructors_of(name)):
        full_name = f"{name}.{title}"
        for argument, value in call.arguments.items():
            if f"{full_name}.{argument}" in OTHER_KINDS:
                continue
            for bad, instead in replacements(value):
                if not THOROUGH and draw.random() > SAMPLE:
                    continue
                if bad == "[NaN]" and f"{full_name}.{argument}" in WITH_GAPS:
                    continue
                changed = copied(call, **{argument: copy_of(instead)})
                wrong = verdict(function, changed, bad)
                shown = bad != "[NaN]" or "nan" in wrong
                if full_name in ELEMENTWISE and wrong.startswith("answers") and shown:
                    continue
                if wrong:
                    found.append(f"{title}({argument}={bad}): {wrong}")
    assert not found, "\n".join(found)


def slow(*_: object) -> None:
    began = time.process_time()
    while time.process_time() < began + 3 * SOON_S:
        pass


@pytest.mark.usefixtures("limited")
def test_a_call_is_ended_too_that_looks_for_garbage() -> None:
    def collects() -> None:
        gc.collect()
        while True:
            pass

    gc.callbacks.append(slow)  # where Python would lose an error
    try:
        with pytest.raises(TooSlow):
            answered(collects, inspect.signature(collects).bind(), SOON_S)
    finally:
        gc.callbacks.remove(slow)


@pytest.mark.usefixtures("limited")
def test_a_call_is_ended_too_that_forgets_a_weak_key() -> None:
    class Slowly(dict[Any, Any]):
        __delitem__ = slow

    class Key:
        pass

    def forgets() -> None:
        kept = weakref.WeakKeyDictionary[Key, int]()
        kept.data = Slowly()  # type: ignore[attr-defined]
        key = Key()
        kept[key] = 1
        del key
        while True:
            pass

    with pytest.raises(TooSlow):
        answered(forgets, inspect.signature(forgets).bind(), SOON_S)


def test_what_holds_arrays_equals_itself_alone() -> None:
    """Compared field by field, arrays have no one truth value."""
    found = []
    for name in called_modules():
        module = importlib.import_module(f"{PACKAGE}.{name}")
        for title, value in list(vars(module).items()):
            ours = inspect.isclass(value) and value.__module__ == module.__name__
            if ours and dataclasses.is_dataclass(value) and not title.startswith("_"):
                kinds = [str(field.type) for field in dataclasses.fields(value)]
                arrays = any(
                    re.search(r"Array\b", kind) and "Callable" not in kind for kind in kinds
                )
                if arrays and value.__eq__ is not object.__eq__:
                    found.append(f"{name}.{title}")
    assert not found, "@dataclass(…, eq=False): " + ", ".join(found)


NUMBER = r"(-?(?:\d[\d,]*(?:\.\d{1,4})?|∞))"  # with more digits it was rounded for the message
RULES = (  # how a message says a range, and whether the ends belong to it
    (rf"in ([\[(]){NUMBER}, {NUMBER}([\])])", ""),
    (rf"from {NUMBER} to {NUMBER}", "[]"),
    (rf"at least {NUMBER}", "[)"),
    (rf"at most {NUMBER}", "(]"),
    (rf"above {NUMBER}", "()"),
    (rf"below {NUMBER}", "()"),
)
KIND = "an integer|a whole number|an even number|finite|positive|a number"
BEFORE = rf"(?:(?:{KIND})(?: of|,| and)? )?"
ROUNDED = {  # ranges whose ends are computed, or whose values are rounded first
    "intuition.failure_budgets.false_pages.fire_probability.burn",
    "intuition.failure_budgets.false_pages.page_start_probability.burn",
    "planner.questions.load_tests.read_typed.output_tokens",
    "planner.questions.load_tests.read_typed.prompt_tokens",
}


def ends_of(rule: str) -> Iterator[tuple[float, int, bool]]:
    """The ends of the range that a rule names: each with the side on which the range is, 1
    above it, and whether the end belongs to it."""
    for pattern, belongs in RULES:
        if match := re.fullmatch(BEFORE + pattern, rule):
            parts = match.groups()
            brackets = belongs or parts[0] + parts[-1]
            texts = [part.replace(",", "").replace("∞", "inf") for part in parts]
            numbers = [float(text) for text in texts if text not in "[]()"]
            if pattern.startswith(("at most", "below")):
                numbers = [-math.inf, *numbers]
            for number, side, bracket in zip(numbers, (1, -1), brackets, strict=False):
                if abs(number) <= FARTHEST:
                    yield number, side, bracket in "[]"


def refusal(function: Callable[..., Any], bound: inspect.BoundArguments, argument: str) -> str:
    """The rule that a call breaks with an argument, in the words of its message, which names the
    argument or quotes its value; empty where the argument is taken, whatever else happens."""
    try:
        answered(function, bound, PROBE_S)
    except ValueError as problem:
        said = re.match(r"(.+?) must be (.*), got (.*)", str(problem), re.DOTALL)
        meant = said and (said[1] == argument or said[3] == repr(bound.arguments[argument]))
        return said[2] if said and meant else ""
    except (TooSlow, Exception):
        return ""
    return ""


def rules_for(
    function: Callable[..., Any], call: inspect.BoundArguments, argument: str
) -> list[str]:
    """The rules that a function states for an argument, a number, a sequence of numbers or one of
    some length, when it is asked with what breaks them."""
    value = call.arguments[argument]
    tried = [*PROBES] if is_number(value) else []
    if is_sequence(value) and len(value):
        tried = [resized(value, size) for size in (0, 1, 2)]
        tried += [other for how, other in replacements(value) if how != "[1j]"]
    said = (refusal(function, copied(call, **{argument: other}), argument) for other in tried)
    return sorted(filter(None, dict.fromkeys(said)))


def rules_of(name: str) -> dict[str, dict[str, list[str]]]:
    """The rules that each function of a module states, by argument."""
    found: dict[str, dict[str, list[str]]] = {}
    for title, function, call in calls_of(name):
        told = {one: rules_for(function, call, one) for one in call.arguments}
        found |= {title: {one: rules for one, rules in told.items() if rules}}
    return {title: told for title, told in found.items() if told}


def misled(
    function: Callable[..., Any], call: inspect.BoundArguments, argument: str, rules: list[str]
) -> Iterator[str]:
    """Where a function does not keep to the letter of the rules that it states for an argument."""

    def with_value(value: float) -> inspect.BoundArguments:
        whole = float(value).is_integer() and isinstance(call.arguments[argument], int)
        return copied(call, **{argument: int(value) if whole else value})

    for rule in rules:
        counted = "integer" in rule or "whole" in rule
        ends = list(ends_of(rule))
        for end, side, belongs in ends:
            near, far = (
                end + way if counted else math.nextafter(end, way * math.inf)
                for way in (side, -side)
            )
            inside, outside = (end, far) if belongs else (near, end)
            for value in (inside, inside + side) if counted else (inside,):
                within = all((value - other) * way >= 0 for other, way, _ in ends)
                if within and refusal(function, with_value(value), argument) == rule:
                    yield f"{argument} must be {rule}, but {value!r} is refused"
            if not refusal(function, with_value(outside), argument):
                yield f"{argument} must be {rule}, but {outside!r} is taken"


COUNTS = {"one": 1, "two": 2, "three": 3}
LENGTH = re.compile(
    r"(?:of )?(?:at least ([\d,]+|one|two)\b(?! and finite)|(one|two|three) or more)"
)


def fewest(rule: str) -> int | None:
    """How many elements a rule asks for, if it says that."""
    match = LENGTH.match(rule)
    word = match and (match[1] or match[2])
    return COUNTS.get(word) or int(word.replace(",", "")) if word else None


def resized(value: Any, size: int) -> Any:
    """A sequence of so many elements: the first of them, and again from the first on."""
    if isinstance(value, np.ndarray):
        return np.resize(value, (size, *value.shape[1:]))
    return type(value)(itertools.islice(itertools.cycle(value), size))


def taken(function: Callable[..., Any], bound: inspect.BoundArguments) -> bool:
    """Whether a call answers."""
    try:
        answered(function, bound, LIMIT_S)
    except (TooSlow, Exception):
        return False
    return True


def miscounted(
    function: Callable[..., Any], call: inspect.BoundArguments, argument: str, rules: list[str]
) -> Iterator[str]:
    """Where a function does not keep to the number of elements that it states for an argument, to
    which all of the same length are cut."""
    length = len(call.arguments[argument])
    sequences = {name: one for name, one in call.arguments.items() if is_sequence(one)}
    alike = {name: one for name, one in sequences.items() if len(one) == length}
    if len(alike) == 1 and not any(map(fewest, rules)):  # which were asked for with each size
        return

    def with_size(size: int) -> inspect.BoundArguments:
        return copied(call, **{name: resized(one, size) for name, one in alike.items()})

    for rule in dict.fromkeys(refusal(function, with_size(size), argument) for size in (0, 1, 2)):
        if least := fewest(rule):
            if refusal(function, with_size(least), argument) == rule:
                yield f"{argument} must be {rule}, but {least} are refused"
            if taken(function, with_size(least - 1)):
                yield f"{argument} must be {rule}, but {least - 1} are taken"


ORDER = re.compile(r"(?P<weak>sorted|non-[a-z]+creasing)|[a-z]+creasing")


def misordered(
    function: Callable[..., Any], call: inspect.BoundArguments, argument: str, rules: list[str]
) -> Iterator[str]:
    """Where a function does not keep to the order that it states for an argument, of which two
    elements that follow each other are made equal, and then change places."""
    value = call.arguments[argument]
    unlike = (n for n, one in enumerate(value[1:], 1) if np.any(one != value[n - 1]))
    at = next(unlike, 0)
    for rule in rules:
        if at and (order := ORDER.search(rule)):
            for pair, refused in (((at - 1, at - 1), not order["weak"]), ((at, at - 1), True)):
                other = [*value[: at - 1], *(value[n] for n in pair), *value[at + 1 :]]
                made = np.array(other) if isinstance(value, np.ndarray) else type(value)(other)
                said = refusal(function, copied(call, **{argument: made}), argument)
                if (said == rule) != refused:
                    yield f"{argument} must be {rule}, but {made} is {'taken' if refused else said}"


def broken_rules(name: str, told: Mapping[str, Mapping[str, list[str]]]) -> Iterator[str]:
    """Where what the functions of a module say of a range, an order or a number of elements is not
    what is refused at its ends and taken there. told: the rules by function and argument.
    """
    for title, function, call in calls_of(name):
        full_name = f"{name}.{title}"
        for argument, value in call.arguments.items():
            found: Iterator[str] = iter(())
            rules = told.get(title, {}).get(argument, [])
            if is_number(value) and f"{full_name}.{argument}" not in OTHER_KINDS.keys() | ROUNDED:
                found = misled(function, call, argument, rules)
            if is_sequence(value) and len(value):
                counted = miscounted(function, call, argument, rules)
                found = itertools.chain(counted, misordered(function, call, argument, rules))
            for line in found:
                yield f"{title}: {line}"
