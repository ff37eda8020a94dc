"""Models and systems by name: presets, aliases, names as published, and files.

A name is compared without case, owner, punctuation and endings that do not change the shape
(`-Instruct`, `-FP8`, dates); what such an ending says of the precision is kept. An unknown name is
answered with the nearest ones.

Source: `records/machine_models.json.gz`, `records/machine_systems.json` and
`records/machine_scores.json`, see there.
"""

from __future__ import annotations

import difflib
import functools
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from serving_mathematics.core.hardware.architectures import Architecture
from serving_mathematics.core.hardware.deployments import PRECISIONS, WORKED, Deployment
from serving_mathematics.core.hardware.published_configs import read_architecture
from serving_mathematics.core.hardware.systems import System, read_system
from serving_mathematics.support.files import read_json, read_text
from serving_mathematics.support.measuring import read_record
from serving_mathematics.support.require import require


def _by_other_name(names: Mapping[str, str]) -> dict[str, str]:
    """Names by their other names, of which a table has several between spaces for each."""
    return {other: name for name, others in names.items() for other in others.split()}


MOST_OF_CONFIG = 2**22  # bytes of a config.json
ENDINGS = re.compile(
    r"(?<=.)(instruct|chat|base|it|hf|thinking|preview|text|vl|next"
    r"|fp8dynamic|fp8block|fp8|nvfp4|mxfp4|fp4|int4|awq|gptq|w4a16|bf16|fp16"
    r"|dynamic|static|pertensor|block|v1|v2|v10|v01|v02|v03|\d{4})$"
)
ENCODER_WORDS = re.compile(r"(?i)embed|rerank|bert|whisper|clip|minilm|\b(bge|gte|e5)\b")
NO_ENCODERS = ", of a decoder: an encoder is a server whose times you measure, and is not planned"
SAME_SHAPE = _by_other_name(
    {  # presets: other names of their shapes, in compared form
        "meta-llama/Meta-Llama-3.1-70B": "llama3370b llama3170b llama370b",
        "meta-llama/Meta-Llama-3.1-8B": "llama318b",
        "meta-llama/Meta-Llama-3.1-405B": "llama31405b",
        "deepseek-ai/DeepSeek-R1": "dsr1",
        "deepseek-ai/DeepSeek-V3": "dsv3 deepseekv31 deepseekv31terminus",
        "deepseek-ai/DeepSeek-V3.2": "dsv32 deepseekv32exp deepseekv32speciale",
        "deepseek-ai/DeepSeek-V4-Pro": "dsv4 deepseekv4",
        "openai/gpt-oss-120b": "gptoss gptoss120",
        "moonshotai/Kimi-K2-Instruct": "kimik2",
        "moonshotai/Kimi-K2.5": "kimik26 kimik27code",
        "Qwen/Qwen3.5-397B-A17B": "qwen35",
        "Qwen/Qwen3-30B-A3B": "qwen3coder30ba3b",
        "MiniMaxAI/MiniMax-M2.5": "minimaxm2 minimaxm21",
        "meta-llama/Llama-4-Maverick-17B-128E-Instruct": "llama4maverick",
        "meta-llama/Llama-4-Scout-17B-16E-Instruct": "llama4scout",
        "mistralai/Mixtral-8x7B-v0.1": "mixtral",
        "Mistral-7B-v0.1": "mistral7b",
    }
)
SYSTEM_ALIASES = _by_other_name(
    {
        "h100_sxm": "h100",
        "h200_sxm": "h200",
        "b200_sxm": "b200",
        "b300_sxm": "b300",
        "a100_sxm": "a100",
        "a100_sxm_40gb": "a10040gb a100sxm440gb",
        "a800_sxm": "a800",
        "h800_sxm": "h800",
        "gh200": "gh200480gb",  # as its driver calls it, by the memory of its processor
        "rtx_3090": "geforcertx3090 3090",
        "rtx_4090": "geforcertx4090 4090",
        "rtx_5090": "geforcertx5090 5090",
        "rtx_a6000": "a6000",
        "rtx_6000_ada": "rtx6000adageneration 6000ada",
        "dgx_spark_gb10": "dgxspark gb10",
        "rtx_pro_6000_server": "rtxpro6000 rtx6000pro rtxpro6000blackwell",
        "gb200": "gb200nvl72",
        "gb300": "gb300nvl72",
    }
)
SYSTEM_ENDINGS = re.compile(
    r"(?<=.)(sxm\d?|hgx|dgx|dgxc|nb|nv|cw|cr|dsv|slurm|oam|multinode|(24|32|40|48|80|94|96|128|141|180|192|256|288)gi?b)$"
)
TOO_OLD = re.compile(  # of a compute capability below 7.5
    r"(tesla)?(v100|p100|p40|p4|k80|m60)s?(fhhl|pcie|sxm\d?|nvlink|\d{1,2}gi?b)*"
    r"|titanv|(geforce)?gtx(9|10)\d\d(ti)?"
)
PLUGGED = re.compile(r"(intel)?(habana)?gaudi|(aws)?(trainium|trn\d|inferentia|inf\d)")
BACKEND_NAMES = _by_other_name(
    {
        "trtllm": "trtllm trt tensorrtllm tensorrt dynamotrt dynamotrtllm",
        "sglang": "sglang dynamosglang morisglang",
        "vllm": "vllm dynamovllm llmd llmdvllm",
    }
)
PRECISION_NAMES = _by_other_name(
    {
        "bf16": "bf16 bfloat16 fp16 float16 half",
        "fp8": "fp8 fp8block fp8static fp8e4m3 w8a8 float8 mxfp8",
        "fp4": "fp4 nvfp4 mxfp4 w4a16mxfp4 w4a8mxfp4mxfp8",
        "int4": "int4 int4wo w4a16 awq gptq",
    }
)


class Unserved(ValueError):
    """A device on which the engines of today do not run; its numbers make no plan either."""


@functools.cache
def compared(name: str) -> str:
    """A name in the form in which names are compared: its letters and digits, in lower case.

    >>> compared("H100-SXM 80GB")
    'h100sxm80gb'
    """
    return re.sub(r"[^a-z0-9]", "", name.lower())


def nearest(name: str, names: Iterable[str]) -> str:
    """The names that are most like this one, for an error's last words.

    >>> nearest("h10", ["h100_sxm", "l4"])
    'h100_sxm'
    """
    by_form = {compared(one.split("/")[-1]): one for one in names}
    form = compared(name.split("/")[-1])
    like = difflib.get_close_matches(form, by_form, 9, 0.3)
    like.sort(key=lambda one: not (form and one.startswith(form)))  # what goes on from there, first
    return ", ".join(by_form[one] for one in like[:3]) or ", ".join(sorted(by_form.values())[:3])


@functools.cache
def _model_configs() -> dict[str, Any]:
    models: dict[str, Any] = read_record("machine_models")["models"]
    return models


@functools.cache
def systems() -> dict[str, System]:
    """All systems by name.

    >>> systems()["h100_sxm"].bandwidth_bytes_per_s
    3350000000000.0
    """
    rows = read_record("machine_systems")["systems"]
    return {name: read_system(name, row) for name, row in rows.items()}


@functools.cache
def _measured_systems() -> frozenset[str]:
    scores = read_record("machine_scores")
    every = scores["aggregated"]["one model left out"], scores["separate fleets, fitted to none"]
    return frozenset(name for kind in every for name in kind["per token"]["system"])


def was_measured(system: str) -> bool:
    """Whether any run of the record was on this device.

    system: its name, as `systems` has it.

    >>> was_measured("h100_sxm"), was_measured("mi300x")
    (True, False)
    """
    return system in _measured_systems()


def model_names() -> tuple[str, ...]:
    """Names of the presets, as published.

    >>> "deepseek-ai/DeepSeek-R1" in model_names()
    True
    """
    return tuple(sorted(_model_configs()))


@functools.cache
def preset_model(name: str) -> Architecture:
    """The preset of exactly this name. Raises ValueError where there is none.

    >>> round(preset_model("Qwen/Qwen3-32B").parameters / 1e9, 1)
    32.8
    """
    configs = _model_configs()
    require(name in configs, "model", "a preset", name)
    return read_architecture(configs[name], name)


@functools.cache
def _forms() -> dict[str, str]:
    """Compared forms, whole and without owner and endings: the preset. The shortest name wins."""
    forms: dict[str, str] = {}
    for name in sorted(_model_configs(), key=len):
        for form in (compared(name), compared(name.split("/")[-1])):
            forms.setdefault(form, name)
    for name in sorted(_model_configs(), key=len):
        bare, _ = _without_endings(compared(name.split("/")[-1]))
        forms.setdefault(bare, name)
        forms.setdefault(bare.removeprefix("meta"), name)
        forms.setdefault(bare.removeprefix("nvidia"), name)
    return forms | {key: name for key, name in SAME_SHAPE.items() if name in _model_configs()}


def _without_endings(form: str) -> tuple[str, str]:
    """A compared form without endings, and the precision that they told."""
    precision = ""
    while match := ENDINGS.search(form):
        for word, told in PRECISION_NAMES.items():
            if match[1].startswith(word) and not precision:
                precision = told
        form = form[: match.start()]
    return form, precision


def find_model(name: str | os.PathLike[str]) -> tuple[Architecture, str]:
    """The architecture of a name or of a `config.json`, and the precision its name tells or "".

    name: a preset, an alias, a name as on Hugging Face, or the path of a `config.json` or of a
    folder that has one. Raises ValueError with the nearest names, or the key that a file lacks.

    >>> find_model("deepseek-ai/DeepSeek-R1-0528-FP4")[1]
    'fp4'
    """
    text = os.fspath(name).strip()
    if not text:
        raise ValueError("model must be named, got nothing")
    if isinstance(name, os.PathLike) or _is_path(text):
        return _file_model(text)
    form = compared(text)
    last = compared(text.split("/")[-1])
    bare, precision = _without_endings(last)
    for tried in (form, last, bare, bare.removeprefix("meta"), bare.removeprefix("nvidia")):
        if tried in _forms():
            return _as_asked(_forms()[tried], precision, last)
    shapes: dict[str, str] = {}  # without endings, and the shortest name of each
    for form_of_one, name_of_one in _forms().items():
        shapes.setdefault(_without_endings(form_of_one)[0].removeprefix("meta"), name_of_one)
    begun = [one for one in shapes if one.startswith(bare)]
    if len(begun) == 1 and len(bare) > 4:  # "Qwen3-235B": only one goes on from there
        return _as_asked(shapes[begun[0]], precision, last)
    like = difflib.get_close_matches(bare, shapes, 6, 0.3)
    names = list(dict.fromkeys(shapes[one] for one in like))[:3] or sorted(_model_configs())[:3]
    raise ValueError(
        f"model {text!r} is not known; nearest: {', '.join(names)}; "
        f"or give the path of its config.json{NO_ENCODERS if ENCODER_WORDS.search(text) else ''}"
    )


def _as_asked(found: str, said: str, asked: str) -> tuple[Architecture, str]:
    """A preset, and what the name asked for says beyond its checkpoint: 16 bits also where only a
    quantized copy is a preset, and the name says nothing."""
    model, form = preset_model(found), compared(found.split("/")[-1])
    quantized = _without_endings(form)[1] not in ("", "bf16")
    said = said or ("bf16" if quantized and form != asked else "")
    return model, "" if said == model.published == "bf16" else said


def _is_path(name: str) -> bool:
    """Whether a model's name is the path of a file or folder."""
    return name.endswith(".json") or name.startswith((".", "/", "~"))


def _file_model(text: str) -> tuple[Architecture, str]:
    path = Path(text)
    try:
        path = path.expanduser()
        if path.is_dir():
            path = path / "config.json"
        content = read_json(read_text(str(path), MOST_OF_CONFIG))
    except (OSError, RuntimeError) as problem:  # of nobody's home, too
        told = getattr(problem, "strerror", None) or problem
        inside = "" if str(path) == text or path.name != "config.json" else f"{path.name} in it: "
        raise ValueError(f"model {text!r} cannot be read: {inside}{told}") from problem
    except ValueError as problem:
        told = str(problem).removeprefix(f"{path}: ")
        raise ValueError(f"model {text!r} must hold JSON: {told}") from problem
    name = path.stem
    if path.name == "config.json":  # as all are called
        kind = content.get("model_type") if isinstance(content, dict) else None
        name = path.parent.name or (kind if isinstance(kind, str) and kind else name)
    return read_architecture(content, name), ""


def find_system(name: str) -> System:
    """The system of a name or alias. Raises ValueError with the nearest names, and where the name
    says another memory than the system's; Unserved where engines have left it.

    >>> find_system("H100-SXM5").name
    'h100_sxm'
    """
    form = compared(name)
    if not form:
        raise ValueError("a system must have a name, and one is empty")
    by_form = {compared(known): known for known in systems()} | SYSTEM_ALIASES
    tried = form.removeprefix("nvidia").removeprefix("amd").removeprefix("instinct")
    if TOO_OLD.fullmatch(tried):
        raise Unserved(
            f"system {name!r} is too old for engines of today: vLLM 0.34 and SGLang 0.5.23 ask for "
            "a compute capability of 7.5, as a T4 has it"
        )
    while tried:
        if tried in by_form:
            system = systems()[by_form[tried]]
            size = re.search(r"(?<!\d)(\d{2,3})\s?gi?b", name.lower())
            own = size is not None and compared(size[0]) in tried
            if size and not own and not 0.85 < 1e9 * float(size[1]) / system.memory_bytes < 1.05:
                there = f"{system.memory_bytes / 2**30:.0f} GiB"
                raise ValueError(f"system {name!r} is known with {there} only")
            return system
        match = SYSTEM_ENDINGS.search(tried)
        if not match:
            break
        tried = tried[: match.start()]
    if PLUGGED.match(form):
        raise ValueError(
            f"system {name!r} is not known: vLLM 0.34 serves it by a plugin alone, with kernels "
            "and options of its own"
        )
    raise ValueError(f"system {name!r} is not known; nearest: {nearest(name, systems())}")


def deployed(model: str, system: str, base: Deployment = WORKED, **changes: Any) -> Deployment:
    """A deployment with another model on another system, both by their names.

    model, system: as `find_model` and `find_system` take them. base: what has the other fields, the
    worked deployment by default. changes: others of them; bits of weights that a name tells are not
    taken. Raises ValueError as these do, TypeError for what is no field.

    >>> deployed("Llama-3.1-70B", "h200", precision="fp8", tensor=2).devices
    2
    """
    architecture, _ = find_model(model)
    return replace(base, architecture=architecture, system=find_system(system), **changes)


def find_backend(name: str) -> str:
    """The backend of a name or alias. Raises ValueError with the nearest names.

    >>> find_backend("TensorRT-LLM")
    'trtllm'
    """
    form = compared(name)
    if form not in BACKEND_NAMES:
        known = nearest(name, ("trtllm", "sglang", "vllm"))
        raise ValueError(f"backend {name!r} is not known; nearest: {known}")
    return BACKEND_NAMES[form]


def find_precision(name: str) -> str:
    """The precision of a name or alias. Raises ValueError with those that are known.

    >>> find_precision("NVFP4")
    'fp4'
    """
    form = compared(name)
    if form not in PRECISION_NAMES:
        raise ValueError(f"precision {name!r} is not known; known: {', '.join(PRECISIONS)}")
    return PRECISION_NAMES[form]
