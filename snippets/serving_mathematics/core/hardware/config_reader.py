"""Looks keys of a `config.json` up, by any of their names, and says which is missing or wrong.

Source: Hugging Face `config.json` files as published by their models' authors.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Self

FULL, LINEAR, WINDOW = "full_attention", "linear_attention", "sliding_attention"
EXPERTS = "n_routed_experts", "num_local_experts", "num_experts"  # by family
MOST_LAYERS = 10_000  # of a file; each is looked at
SKETCH = (  # what is read of any model
    "a file is read that has 'hidden_size', 'num_hidden_layers', 'num_attention_heads', "
    "'num_key_value_heads', 'head_dim', 'intermediate_size' and 'vocab_size' alone, and of a "
    "mixture 'num_experts', 'num_experts_per_tok' and 'moe_intermediate_size'"
)


class _Reader:
    """Looks keys up by any of their names and says which is missing."""

    def __init__(self, config: Mapping[str, Any], name: str) -> None:
        self.config = config
        self.name = name

    def has(self, *keys: str) -> bool:
        return any(self.config.get(key) is not None for key in keys)

    def get(self, *keys: str, default: Any = None) -> Any:
        for key in keys:
            if self.config.get(key) is not None:
                return self.config[key]
        return default

    def whole(
        self, *keys: str, default: int | None = None, least: int = 1, most: int = 10**9
    ) -> int:
        value = self.get(*keys, default=default)
        if value is None:
            raise ValueError(f"{self.name}: config.json must have {' or '.join(map(repr, keys))}")
        return self._whole(repr(keys[0]), value, least, most)

    def number(self, key: str) -> float:
        """A positive one."""
        value = self.get(key)
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        if not plain or not 0 < value <= 10**9:
            raise self._wrong(repr(key), "a positive number", value)
        return float(value)

    def wholes(self, key: str) -> list[int]:
        """Of a list of whole numbers; none where it is not there."""
        values = enumerate(self.items(key), start=1)
        return [self._whole(f"entry {n} of {key!r}", value, 0, 10**9) for n, value in values]

    def items(self, key: str) -> list[Any]:
        """Of a list; none where it is not there."""
        value = self.get(key, default=[])
        if not isinstance(value, list):
            raise self._wrong(repr(key), "a list", value)
        return value

    def flag(self, *keys: str, default: bool = False) -> bool:
        """True or false."""
        value = self.get(*keys, default=default)
        if not isinstance(value, bool):
            raise self._wrong(repr(keys[0]), "true or false", value)
        return value

    def of_layers(self, key: str, layers: int, known: tuple[Any, ...]) -> list[Any]:
        """Of a list with an entry for each layer, each one of those that are known."""
        values = self.items(key)
        if len(values) < layers:
            raise ValueError(f"{self.name}: {key!r} must have {layers} entries, got {len(values)}")
        for number, value in enumerate(values, start=1):
            if not any(value == one and type(value) is type(one) for one in known):
                listed = ", ".join(dict.fromkeys(map(str, known)))
                raise self._wrong(f"entry {number} of {key!r}", f"one of {listed}", value)
        return values[:layers]

    def heads_of(self, heads: int, *keys: str, default: int) -> int:
        """Groups of heads, of which each has as many."""
        groups = self.whole(*keys, default=default)
        if heads % groups:
            raise self._wrong(repr(keys[0]), f"a divisor of the {heads} heads", groups)
        return groups

    @functools.cached_property
    def hidden(self) -> int:
        """Values of a token between layers."""
        return self.whole("hidden_size", "n_embd", "d_model")

    @functools.cached_property
    def heads(self) -> int:
        """Heads of a layer's queries."""
        return self.whole("num_attention_heads", "n_head")

    @functools.cached_property
    def head_width(self) -> int:
        """What a head is wide, also where no file says it."""
        if self.has("head_dim", "attention_head_dim"):
            return self.whole("head_dim", "attention_head_dim")
        if self.hidden % self.heads:
            rule = f"a divisor of 'hidden_size', {self.hidden}, where there is no 'head_dim'"
            raise self._wrong("'num_attention_heads'", rule, self.heads)
        return self.hidden // self.heads

    def kinds(self, *usual: str, key: str = "layer_types", **names: str) -> list[Any]:
        """What each layer is, in the words that are read here; as usual where it is not said."""
        return [names.get(str(one), one) for one in self.items(key)] or list(usual)

    def one_in(self, every: int, other: str) -> list[str]:
        """Kinds of layers, of which one in so many sees all."""
        return [FULL if (i + 1) % every == 0 else other for i in range(self.layers)]

    def inside(self, *keys: str) -> Self:
        """What stands in an object; nothing where it is not there."""
        return self.part(repr(keys[0]), self.get(*keys, default={}))

    @functools.cached_property
    def layers(self) -> int:
        """Layers of a file that counts them; one of another."""
        return self.whole("num_hidden_layers", "n_layer", default=1, most=MOST_LAYERS)

    def part(self, what: str, value: Any) -> Self:
        """An object inside this one, or an empty one."""
        if value and not isinstance(value, Mapping):
            raise self._wrong(what, "an object", value)
        return type(self)(value or {}, self.name)

    def unread(self, key: str, known: str) -> ValueError:
        """Of a key that changes what a layer is, in a way that is not known here."""
        return ValueError(
            f"{self.name}: {key!r} says of layers what is not read here; known are {known}; for an "
            f"estimate, {SKETCH}"
        )

    def _whole(self, what: str, value: Any, least: int, most: int) -> int:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not least <= value <= most or value % 1 != 0:
            raise self._wrong(what, f"a whole number from {least} to {most:,}", value)
        return int(value)

    def _wrong(self, what: str, rule: str, value: Any) -> ValueError:
        return ValueError(f"{self.name}: {what} must be {rule}, got {repr(value)[:60]}")
