"""The installed model cut to what most tests need, a twentieth of its bytes: it answers nonsense,
starts in a fifth of the time and takes steps of a tenth.

For what does not depend on the words: counts, places, memory, and the ends of everything.
"""

from __future__ import annotations

import re
import struct
from dataclasses import replace
from pathlib import Path

from serving_mathematics.engine.gguf_file import Tensor, _text, _value, read_gguf, write_gguf
from serving_mathematics.engine.token_engine import VOCABULARY, model_path

LAYERS, WORDS = 2, 1024  # of 30, and of 49,152: marks, bytes, and what is merged first
BYTES = 252  # tokens before those that are merged, one by each merge
END, PERIOD = 2, 30  # tokens: the end of an answer, and the end of a sentence
NUMBERS = {"llama.block_count": LAYERS}
ARRAYS = {
    "tokenizer.ggml.tokens": WORDS,
    "tokenizer.ggml.token_type": WORDS,
    "tokenizer.ggml.merges": WORDS - BYTES,
}


def write_small_model(path: Path) -> None:
    """Write the model of two layers whose answers, and texts that it reads, are made of the first
    tokens; the numbers of all others are zeros to it. It ends an answer as often as a sentence,
    which it would never do.

    path: of the file.
    """
    whole = read_gguf(model_path())
    deeper = re.compile(rf"blk\.(?![0-{LAYERS - 1}]\.)")
    kept = {name: tensor for name, tensor in whole.tensors.items() if not deeper.match(name)}
    read = kept["token_embd.weight"]  # which scores the answers too
    rows = read.raw.reshape(VOCABULARY, -1)[:WORDS].copy()
    rows[END] = rows[PERIOD]
    kept["token_embd.weight"] = Tensor((WORDS, read.shape[1]), read.kind, rows)
    write_gguf(path, replace(whole, head=_cut(whole.head)), kept)


def _cut(head: bytes) -> bytes:
    """The head with the numbers and the beginnings of arrays that are named above."""
    (pairs,) = struct.unpack_from("<Q", head, 0)
    at, parts = 8, [head[:8]]
    for _ in range(pairs):
        begin = at
        name, kind_at = _text(head, begin)
        (kind,) = struct.unpack_from("<I", head, kind_at)
        _, at = _value(head, kind_at + 4, kind)
        if name in NUMBERS:
            parts.append(head[begin : kind_at + 4] + struct.pack("<I", NUMBERS[name]))
        elif name in ARRAYS:
            (element,) = struct.unpack_from("<I", head, kind_at + 4)
            end = items = kind_at + 16  # after the array's kind, that of its elements, their count
            for _ in range(ARRAYS[name]):
                _, end = _value(head, end, element)
            count = struct.pack("<Q", ARRAYS[name])
            parts.append(head[begin : items - 8] + count + head[items:end])
        else:
            parts.append(head[begin:at])
    return b"".join(parts)
