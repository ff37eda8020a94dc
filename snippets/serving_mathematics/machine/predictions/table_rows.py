"""A row of a table as a deployment under a closed loop: its columns, in these words or others'.

What is left blank is read by stated defaults, and what is read in another way than it stands is in
the row's notes.

Assumes: `model` and the others as their names say.

Source: tables and scripts of InferenceX (SemiAnalysis, Apache-2.0), for names and what is usual.
"""

# In one piece: what a row may hold, and what is read or refused of it, column by column.

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from serving_mathematics.core.hardware.architectures import Architecture
from serving_mathematics.core.hardware.catalogue import (
    Unserved,
    _by_other_name,
    _is_path,
    compared,
    find_backend,
    find_model,
    find_precision,
    find_system,
    nearest,
    was_measured,
)
from serving_mathematics.core.hardware.deployments import (
    Deployment,
    Impossible,
    _require_kept_experts,
    own_precision,
    require_deployment,
    room_sequences,
)
from serving_mathematics.core.hardware.fronts import FRONTS, Front, crossing, find_front, untuned
from serving_mathematics.core.hardware.kept_back import held_steps
from serving_mathematics.core.hardware.published_runs import ACCEPTED, fleet_split
from serving_mathematics.support.require import as_number, require_positive_integer

NEEDED = ("model", "system", "isl", "osl", "concurrency")
COLUMNS = {
    "model": "a preset, an alias, a Hugging Face name, or the path of a config.json",
    "system": "h100_sxm, h200_sxm, b200_sxm, gb200, mi300x, ... or an alias such as H100",
    "backend": "vllm, sglang or trtllm; blank: vllm",
    "precision": "bf16, fp8, fp4 or int4; blank: what the name says, else as published",
    "isl": "tokens of a prompt",
    "osl": "tokens of an answer; 1 has no time per token",
    "concurrency": "requests held at the whole replica",
    "tp": "devices that share one layer's attention; blank: 1",
    "pp": "stages of a pipeline; blank: 1",
    "dp": "groups with attention in parallel over data; blank: 1",
    "ep": "devices with different experts; blank: 1",
    "mode": "agg, or disagg with the prefill_ and decode_ columns; blank: agg",
    "shortest_share": "lengths lie between this share of nominal and nominal; blank: 0.8 where "
    "isl and osl are 1024 or 8192, as in InferenceX, else 1",
    "speculation": "none or mtp; blank: mtp where draft_tokens says how many, else none",
    "draft_tokens": "guessed each step; blank: 3 with mtp, 1 with dp > 1",
    "accepted_tokens": "tokens a step and sequence; blank: 2.5 for 3 guesses, 1.8 for 1",
    "prefill_tp, prefill_dp, prefill_ep, prefill_workers": "disagg: an engine that takes prompts, "
    "and how many; blank workers: as many as keep them below 80% busy",
    "decode_tp, decode_dp, decode_ep, decode_workers": "disagg: an engine that answers, how many",
    "front": "what stands before the devices: benchmark, whose first tokens have its harness in "
    "them, unknown, which is for the TTFT of one user too, ml-energy, inference-perf or engine; "
    "blank: benchmark",
    "ttft_s, tpot_s": "measured; errors are then printed",
}
_NAMES = tuple(name for key in COLUMNS for name in key.split(", "))
OTHER_NAMES = _by_other_name(
    {  # as other tables call them, in compared form
        "model": "modelpath",
        "system": "hardware hw gpu",
        "backend": "framework",
        "tp": "tpsize tensorparallel tensorparallelsize tensorparallelism",
        "pp": "ppsize pipelineparallel pipelineparallelsize pipelineparallelism",
        "dp": "attentiondpsize dpsize dataparallel dataparallelsize dataparallelism",
        "ep": "moeepsize epsize expertparallel expertparallelsize expertparallelism",
        "concurrency": "conc maxconcurrency",
        "prefill_tp": "prefilltpsize",
        "prefill_dp": "prefillattentiondpsize",
        "prefill_ep": "prefillmoeepsize",
        "prefill_workers": "prefillnumworkers",
        "decode_tp": "decodetpsize",
        "decode_dp": "decodeattentiondpsize",
        "decode_ep": "decodemoeepsize",
        "decode_workers": "decodenumworkers",
        "speculation": "specmethod",
        "isl": "inputlen inputlength inputtokens prompttokens",
        "osl": "outputlen outputlength outputtokens",
    }
)
USUAL_BUDGET = 8192  # tokens of a step, by default of vLLM's server on large devices
LIKE = 0.8  # how like a name must be to one that is not there to have been meant for it
BENCHMARK_LENGTHS = (1024.0, 8192.0)
Said = TypeVar("Said")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Row:
    """A row, read: one engine, or an engine of each fleet."""

    answers: Deployment
    prompts: Deployment | None
    answer_engines: float
    prompt_engines: float  # 0: as many as keep them below 80% busy
    concurrency: float
    notes: tuple[str, ...]
    front: Front = FRONTS["benchmark"]


def _cell(cells: Mapping[str, object], column: str) -> str:
    value = cells.get(column)
    blank = value is None or (isinstance(value, float) and math.isnan(value))
    return "" if blank else str(value).strip()


def number(
    cells: Mapping[str, object],
    column: str,
    blank: float | None,
    low: float,
    high: float,
    whole: bool = True,
) -> float:
    """A number of a row. Raises ValueError naming column, rule and value.

    cells: the row's text or numbers by column. blank: what an empty cell stands for, or None if it
    may not be.

    >>> number({"isl": "1024"}, "isl", None, 1, 1e8)
    1024.0
    """
    high = as_number(high=high)
    text = _cell(cells, column)
    if not text:
        if blank is None:
            raise ValueError(f"column {column}: must be given, got nothing")
        return blank
    try:
        value = float(text if text.isascii() and "_" not in text else "no number")
    except ValueError:
        raise ValueError(f"column {column}: must be a number, got {text!r}") from None
    kind = "a whole number" if whole else "a number"
    if not math.isfinite(value) or not low <= value <= high or (whole and value != int(value)):
        raise ValueError(f"column {column}: must be {kind} from {low:g} to {high:g}, got {text}")
    return value


def parallel_widths(tensor: int, data: int, expert: int) -> tuple[int, int, int, tuple[str, ...]]:
    """Widths with devices that were counted twice counted once, and notes that say so.

    Attention in parallel over data is often written with `tp` and `dp` both as the number of
    devices, experts with a `tp` that is the square of `ep`, and shared attention beside different
    experts with both. Raises ValueError unless all are positive integers.

    >>> parallel_widths(8, 8, 8)[:3], parallel_widths(64, 1, 8)[:3], parallel_widths(1, 1, 8)[:3]
    ((1, 8, 8), (8, 1, 8), (1, 8, 8))
    """
    tensor, data, expert = require_positive_integer(tensor=tensor, data=data, expert=expert)
    notes = []
    if expert > 1 and tensor == expert * expert and tensor > 8:
        notes.append(f"tp={tensor} with ep={expert} is read as {expert} devices")
        tensor = expert
    if expert > 1 and data == expert * expert:
        notes.append(f"dp={data} with ep={expert} is read as {expert} groups")
        data = expert
    if data == tensor > 1 and expert == tensor * tensor:
        notes.append(f"ep={expert} with tp={tensor} and dp={data} is read as tp={tensor} alone")
        data, expert = 1, tensor
    if data == tensor > 1:
        notes.append(f"tp={tensor} and dp={data} are read as the same {data} devices")
        tensor = 1
        expert = min(expert, data)
    if expert > tensor * data and data == 1 and expert % tensor == 0:
        data = expert // tensor
        notes.append(f"ep={expert} over tp={tensor} is read with dp={data}")
    return tensor, data, expert, tuple(notes)


def _widths(cells: Mapping[str, object], start: str) -> tuple[int, int, int, tuple[str, ...]]:
    values = []
    for name in ("tp", "dp", "ep"):
        column = f"{start}{name}"
        if start and not _cell(cells, column):
            column = name
        values.append(int(number(cells, column, 1, 0, 4096)) or 1)
    tensor, data, expert = values
    return parallel_widths(tensor, data, expert)


def _require_one_engine(cells: Mapping[str, object]) -> None:
    """Refuse widths of fleets that say another thing than those of the one engine."""
    for start in ("prefill_", "decode_"):
        for name in ("tp", "dp", "ep", "workers"):
            said = number(cells, f"{start}{name}", 0, 0, 4096) or 1
            own = 1 if name == "workers" else number(cells, name, 0, 0, 4096) or 1
            if _cell(cells, f"{start}{name}") and said != own:
                rule = "blank where mode is agg, or what the engine has"
                raise ValueError(f"column {start}{name}: must be {rule}, got {said:g}")


def _guesses(cells: Mapping[str, object], data: int) -> tuple[int, float]:
    """Tokens guessed each step, and tokens that a step yields a sequence."""
    method = compared(_cell(cells, "speculation"))
    if method not in ("", "none", "no", "false", "0", "mtp", "eagle", "eagle3", "yes", "true"):
        raise ValueError(
            f"column speculation: must be none or mtp, got {_cell(cells, 'speculation')!r}"
        )
    guessing = method in ("mtp", "eagle", "eagle3", "yes", "true")
    default = (1 if data > 1 else 3) if guessing else 0
    drafts = int(number(cells, "draft_tokens", default, 0, 16))
    if method and guessing != (drafts > 0):
        rule = "1 or more" if guessing else "0 or blank"
        told = f"where speculation is {_cell(cells, 'speculation')}, got {drafts}"
        raise ValueError(f"column draft_tokens: must be {rule} {told}")
    usual = ACCEPTED.get(drafts, 1 + 1.7 * (1 - 0.53**drafts))
    accepted = number(cells, "accepted_tokens", usual, 1, 17, whole=False)
    if accepted > drafts + 1:
        rule = f"a number from 1 to {drafts + 1}, draft_tokens + 1"
        raise ValueError(f"column accepted_tokens: must be {rule}, got {accepted:g}")
    return drafts, accepted


def _in_column(column: str, find: Callable[[Said], Found], said: Said) -> Found:
    """What a cell names; a refusal says in which column."""
    try:
        return find(said)
    except ValueError as problem:
        raise ValueError(f"column {column}: {problem}") from problem


# In one piece: a row's cells in their order, each read or refused.
def read_row(cells: Mapping[str, object]) -> Row:
    """A deployment from a row's columns.

    cells: text or numbers by the names of COLUMNS; None and NaN are blank, other columns are not
    read. Raises ValueError naming column and rule: unknown names with the nearest, a column spelt
    nearly as one that is not there, widths that do not divide, weights that do not fit, lengths
    beyond the model's context.

    >>> row = read_row({"model": "Llama-3.1-8B", "system": "H100", "isl": 1000, "osl": 100,
    ...                 "concurrency": 8})
    >>> row.answers.devices, row.answers.precision
    (1, 'bf16')
    """
    _refuse_misspelt([str(column) for column in cells if column not in _NAMES], cells)
    architecture, told = _in_column("model", find_model, _cell(cells, "model"))
    backend = _in_column("backend", find_backend, _cell(cells, "backend") or "vllm")
    said = _cell(cells, "precision") or told
    said = said or _in_column("precision", own_precision, architecture)
    precision = _in_column("precision", find_precision, said)
    if told or _cell(cells, "precision"):
        try:
            _require_kept_experts(architecture, precision, "blank")
        except Impossible as problem:
            raise Impossible(_in_columns(str(problem), "")) from None
    try:
        system = _in_column("system", find_system, _cell(cells, "system"))
    except ValueError as problem:
        own = "; or give plan its --peak-tflops, --bandwidth-gb-per-s and --memory-gib"
        own *= bool(_cell(cells, "system")) and not isinstance(problem.__cause__, Unserved)
        raise ValueError(f"{problem}{own}") from None
    front = _in_column("front", find_front, _cell(cells, "front") or "benchmark")
    lengths = [number(cells, column, None, 1, 1e8) for column in ("isl", "osl")]
    concurrency = number(cells, "concurrency", None, 1, 1e6)
    mode = compared(_cell(cells, "mode")) or "agg"
    if mode not in ("agg", "aggregated", "ifb", "disagg", "disaggregated"):
        raise ValueError(f"column mode: must be agg or disagg, got {_cell(cells, 'mode')!r}")
    usual = 0.8 if all(length in BENCHMARK_LENGTHS for length in lengths) else 1.0
    shortest = number(cells, "shortest_share", usual, 1e-3, 1, whole=False)
    pipeline = int(number(cells, "pp", 1, 0, 4096)) or 1
    separate = mode.startswith("disagg")
    if not separate:
        _require_one_engine(cells)
    tensor, data, expert, notes = _widths(cells, "decode_" if separate else "")
    if _is_path(_cell(cells, "model")):
        size = f"{architecture.parameters / 1e9:.4g}·10⁹ parameters"
        left_out = f", without {', '.join(architecture.beside)}" if architecture.beside else ""
        size += f"{left_out}, published in {precision}"
        notes += (f"{_cell(cells, 'model')} is read as {size}",)
    if not was_measured(system.name):
        notes += (
            f"no run on {system.shown} was measured, and how far its times are off is not known: "
            "give two runs of yours to plan --load-test",
        )
    drafts, accepted = _guesses(cells, data)
    answering, taking = 1.0, 0.0
    of_prompts: tuple[int, int, int] | None = None  # widths of an engine that takes prompts
    if separate:
        answering = number(cells, "decode_workers", 1, 1, 4096)
        taking = number(cells, "prefill_workers", 0, 0, 4096)
        tensors, groups, experts, more = _widths(cells, "prefill_")
        of_prompts = tensors, groups, experts
        notes += more
    elif tensor > 8 and expert == 1 and system.domain_devices > 8 and architecture.heads % tensor:
        width, count = fleet_split(tensor)
        notes += (
            f"tp={tensor} does not divide {architecture.heads} heads: read as a fleet of "
            f"{tensor} devices, of which {width * count} answer",
        )
        answering, of_prompts = float(count), (4, data, _dividing(architecture, 4))
        tensor, data, expert = 1, width, _dividing(architecture, width)
    base = Deployment(
        architecture,
        system,
        backend,
        precision,
        lengths[0],
        lengths[1],
        concurrency,
        tensor,
        pipeline,
        data,
        expert,
        shortest,
        drafts,
        accepted,
    )
    prompts: Deployment | None = None
    if of_prompts is None and front.name == "benchmark":
        base = replace(base, held_steps=held_steps(base))
    elif of_prompts is not None:
        tensor, data, expert = of_prompts
        alone = replace(base, draft_tokens=0, accepted_tokens=1.0)
        prompts = replace(alone, tensor=tensor, attention_data=data, expert=expert)
        base = replace(base, concurrency=max(1.0, concurrency / answering))
    for engine, start in ((base, "decode_" if separate else ""), (prompts, "prefill_")):
        if engine is not None:
            try:
                require_deployment(engine)
            except ValueError as problem:
                raise Impossible(_in_columns(str(problem), start)) from None
    taken = (untuned(base), crossing(base), crossing(prompts or base))
    notes += tuple(dict.fromkeys(note for note in taken if note))
    if room_sequences(base) < base.concurrency:
        notes += ("memory holds fewer sequences at once than the concurrency: the others wait",)
    asked = base.concurrency / base.attention_data * base.input_tokens / base.output_tokens
    if prompts is None and base.output_tokens > 1 and asked > USUAL_BUDGET:
        told = f"prompts bring more than {USUAL_BUDGET:,} tokens for each of an answer, a usual "
        told += "budget of a step: first tokens come later than this says, others as much sooner"
        notes += (told,)
    return Row(base, prompts, answering, taking, concurrency, notes, front)


def _dividing(architecture: Architecture, width: int) -> int:
    """The width for experts, where there are some and they divide by it."""
    counts = architecture.expert_counts
    return width if counts and all(count % width == 0 for count in counts) else 1


def _in_columns(text: str, start: str) -> str:
    """A rule about a deployment in the words of the table's columns."""
    words = {
        "input_tokens + output_tokens": "columns isl and osl: the sum",
        "input_tokens": "column isl:",
        "output_tokens": "column osl:",
        "concurrency": "column concurrency:",
        "tensor": f"column {start}tp:",
        "pipeline": "column pp:",
        "attention_data": f"column {start}dp:",
        "expert": f"column {start}ep:",
        "draft_tokens": "column draft_tokens:",
        "accepted_tokens": "column accepted_tokens:",
        "shortest_share": "column shortest_share:",
        "weights": f"column {start}tp: weights",
        "precision": "column precision:",
    }
    for name, told in words.items():
        if text.startswith(f"{name} "):
            return told + text[len(name) :]
    return text


def devices_of(row: Row) -> float:
    """Devices of a row's replica: of the engine, or of both fleets as far as they are stated.

    >>> from serving_mathematics.machine.predictions.table_rows import read_row
    >>> cells = {"model": "Qwen3-32B", "system": "H100", "isl": "1000", "osl": "100", "tp": "2",
    ...          "concurrency": "8"}
    >>> devices_of(read_row(cells))
    2.0
    """
    total = row.answers.devices * row.answer_engines
    if row.prompts is not None:
        total += row.prompts.devices * max(1.0, row.prompt_engines)
    return total


def rename_columns(header: Sequence[str]) -> dict[str, str]:
    """The command's columns by those of a table's header, where other tables' names are known.

    Raises ValueError where a needed one is missing, one stands twice, or one is spelt nearly as one
    that is not there.

    >>> rename_columns(["model", "gpu", "isl", "osl", "conc"])["gpu"]
    'system'
    """
    known = {compared(name): name for name in _NAMES}
    names: dict[str, str] = {}
    for column in header:
        form = compared(column)
        name = known.get(form) or OTHER_NAMES.get(form)
        if name is not None:
            if name in names.values():
                raise ValueError(f"column {name} must stand once, got it twice")
            names[column] = name
    _refuse_misspelt([column for column in header if column not in names], names.values())
    for name in NEEDED:
        if name not in names.values():
            like = [c for c in header if c not in names]
            hint = f"; nearest: {nearest(name, like)}" if like else ""
            raise ValueError(
                f"column {name} must be there, got {', '.join(header) or 'none'}{hint}"
            )
    return names


def _refuse_misspelt(columns: Sequence[str], there: Collection[str]) -> None:
    """Refuse unknown columns that are spelt nearly as a known one that is not there."""
    known = {compared(name): name for name in _NAMES} | OTHER_NAMES
    forms = {form: name for form, name in known.items() if len(form) > 4}
    for column in columns:
        near = difflib.get_close_matches(compared(column), forms, 1, LIKE)
        meant = forms[near[0]] if near else ""
        if meant and meant not in (*there, "ttft_s", "tpot_s"):
            raise ValueError(f"there is no column {column[:60]!r}; did you mean {meant}?")
