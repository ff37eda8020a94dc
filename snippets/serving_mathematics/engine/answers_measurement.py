"""What changes the answers of a language model though no schema shows it, measured on an engine.

The same questions are answered by the likeliest tokens, by engines that differ in one thing: the
bits of the weights, the type of the cache, the template's system message, the chunks of prompts,
and who else is in the batch. Held against the answers of the first engine, a record has for each
question the place of the first token that differs.

Assumes: likeliest tokens, so that no chance is in it; questions about sentences of this handbook.

Source: measurement. Needs openvino-genai and a model. `python -m
serving_mathematics.engine.answers_measurement` writes records/changed_answers.json.
"""

from __future__ import annotations

import argparse
import functools
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from serving_mathematics.engine.engine_measurement import _written
from serving_mathematics.engine.gguf_file import read_gguf
from serving_mathematics.engine.language_measurement import PACKAGES, TEXT, _files_of
from serving_mathematics.engine.token_engine import (
    Ask,
    Settings,
    TokenEngine,
    model_path,
)
from serving_mathematics.support.measuring import provenance
from serving_mathematics.support.require import require_positive_integer

COMMAND = "python -m serving_mathematics.engine.answers_measurement"
QUESTIONS, TOKENS, TOGETHER, CHUNK = 80, 48, 16, 16
OTHER_SYSTEM = "You are a helpful assistant."
_MANY = Settings(max_sequences=TOGETHER, kv_blocks=400, context_tokens=1024)
_ALONE = replace(_MANY, max_sequences=1)
CASES = {  # file, type of the cache, settings, system message
    "before": ("F16", "f16", _MANY, ""),
    "nothing, asked again": ("F16", "f16", _MANY, ""),
    "one request at a time": ("F16", "f16", _ALONE, ""),
    "prompts in small chunks": ("F16", "f16", replace(_ALONE, token_budget=CHUNK), ""),
    "cache in 8 bits": ("F16", "u8", _MANY, ""),
    "weights in 8 bits": ("Q8_0", "f16", _MANY, ""),
    "weights in 4 bits": ("Q4_0", "f16", _MANY, ""),
    "another system message": ("F16", "f16", _MANY, OTHER_SYSTEM),
}


def _questions_of(text: str, most: int) -> list[str]:
    """Questions about sentences of a text, evenly spread over it, at most so many."""
    most = require_positive_integer(most=most)
    sentences = [s.strip() for s in re.split(r"(?<=[.?!])\s+", text) if 40 < len(s.strip()) < 160]
    every = max(1, len(sentences) // most)
    return [f"Explain this sentence: {sentence}" for sentence in sentences[::every][:most]]


def _first_change(before: Sequence[int], after: Sequence[int]) -> int | None:
    """Place of the first token in which two answers differ, from 0; None where they are equal."""
    pairs = enumerate(zip(before, after, strict=False))
    least = min(len(before), len(after))
    place = next((i for i, (one, two) in pairs if one != two), least)
    return None if place == least and len(before) == len(after) else place


def _answers(engine: TokenEngine, questions: Sequence[str], system: str, most: int) -> Any:
    """The likeliest tokens that answer each question."""
    head = [{"role": "system", "content": system}] if system else []
    for number, question in enumerate(questions, 1):
        prompt = engine.encode_chat([*head, {"role": "user", "content": question}])
        engine.add(number, Ask(tuple(prompt), most))
    while not engine.idle:
        engine.step()
    return [engine.tokens(number).tokens for number in range(1, len(questions) + 1)]


def _measured(questions: int = QUESTIONS, tokens: int = TOKENS) -> dict[str, Any]:
    """The record. Raises EngineMissing without an engine.

    questions: that are asked, at most. tokens: of an answer, at most.
    """
    path = model_path()
    asked = _questions_of(TEXT.read_text(encoding="utf-8"), questions)
    found: dict[str, Any] = {}
    rows = []
    with _files_of(read_gguf(path), path) as paths:
        for name, (file, cache_type, settings, system) in CASES.items():
            engine = TokenEngine(settings, paths[file], cache_type)
            found[name] = _answers(engine, asked, system, tokens)
            del engine
            pairs = zip(found["before"], found[name], strict=True)
            places = [_first_change(before, after) for before, after in pairs]
            print(name, sum(place is not None for place in places), file=sys.stderr, flush=True)
            if name != "before":
                rows.append({"change": name, "first_change": places})
    return {
        **provenance(COMMAND, PACKAGES),
        "asked": {"questions": len(asked), "tokens": tokens, "together": TOGETHER, "chunk": CHUNK},
        "cases": rows,
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure and write the record; 2 without an engine."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Measure what changes answers.")
    parser.add_argument("--questions", type=int, default=QUESTIONS)
    parser.add_argument("--tokens", type=int, default=TOKENS, help="of an answer")
    parser.add_argument("--folder", type=Path, help="for the record; by default that of the pages")
    given = parser.parse_args(arguments)
    measured = functools.partial(_measured, given.questions, given.tokens)
    return _written("changed_answers", measured, given.folder)


if __name__ == "__main__":
    sys.exit(main())
