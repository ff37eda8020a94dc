"""The model of the engine's page as vLLM reads it: `python -m benchmarks.vllm_model GGUF FOLDER`.

Runs in vLLM's environment. transformers reads the 4-bit file and dequantizes it, but refuses to
save what it read; so weights, rounded to bfloat16, and configuration are written here. Beside them
stand answers in float32, by which whatever reads the folder shows that it computes the same.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

QUESTIONS = ("What is a queue?", "Name three rivers.", "Why is the sky blue?")
ANSWER_TOKENS = 32
ANSWERS = "answers.json"


def main() -> None:
    """Read the file and write the folder, the weights last."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source, folder = (Path(argument) for argument in sys.argv[1:])
    place, file = source.parent, source.name
    tokenizer = AutoTokenizer.from_pretrained(place, gguf_file=file)
    model = AutoModelForCausalLM.from_pretrained(place, gguf_file=file, dtype=torch.float32)
    answers = []
    for question in QUESTIONS:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False
        )
        prompt = tokenizer(text, add_special_tokens=False).input_ids
        tokens, read, past = list[int](), prompt, None
        while len(tokens) < ANSWER_TOKENS:
            with torch.no_grad():
                out = model(torch.tensor([read]), past_key_values=past)
            read, past = [int(out.logits[0, -1].argmax())], out.past_key_values
            tokens += read
        answers.append({"prompt": prompt, "tokens": tokens})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ANSWERS).write_text(json.dumps(answers), encoding="utf-8")
    tokenizer.save_pretrained(folder)
    config = model.config
    del config.quantization_config
    config.architectures, config.dtype = [type(model).__name__], torch.bfloat16
    config.save_pretrained(folder)
    weights = model.to(torch.bfloat16).state_dict()
    if config.tie_word_embeddings:
        del weights["lm_head.weight"]  # is the embedding
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    main()
