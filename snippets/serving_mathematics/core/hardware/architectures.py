"""What a model is made of: its width, its words, and its layers.

A step's cost follows from a few counts: parameters of attention, of dense feed-forward layers and
of each expert, values that a token leaves in the cache, and multiplications of a token with its
context. `published_configs` reads them from the file that a model was published with.

Counts leave out norms, biases and rotary tables (below one part in a thousand).

Source: Hugging Face `config.json` files as published by their models' authors.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

IN_HOST, ENDS = "in the host's memory", "the ends of prompts alone"
UNSEEN = IN_HOST, ENDS  # what ends the names of parts that neither see nor hear


@dataclass(frozen=True)
class Attention:
    """One attention layer: parameters, what a token leaves behind, what a token multiplies with."""

    kind: str  # full, window, latent, linear or none
    parameters: int
    cached_values: int = 0  # a token and layer, both K and V
    state_values: int = 0  # a sequence and layer, independent of its length
    score_width: int = 0  # multiplications of a new token with each token of its context
    prompt_score_width: int = 0  # the same for prompts, where latent attention is unfolded
    kv_heads: int = 0  # how many devices can hold different parts of the cache
    window_tokens: int = 0  # a new token sees at most these (0: all)
    selected_tokens: int = 0  # sparse attention reads at most these of its context (0: all)
    index_values: int = 0  # values a token that choose what is read
    index_width: int = 0  # multiplications with each token of the context in choosing
    own_bytes: float = 0.0  # of a cached value, where engines keep one layout of their own (0: any)
    waiting_values: int = 0  # a sequence and layer, in 32 bits, of which a step moves next to none
    borrowed: bool = False  # it reads the cache of a layer before it, and keeps none


@dataclass(frozen=True)
class FeedForward:
    """One feed-forward layer: dense parameters, and experts if it is a mixture."""

    dense_parameters: int  # of the dense layer or of the experts that every token passes
    expert_parameters: int = 0  # of one routed expert
    experts: int = 0
    chosen: int = 0  # experts a token


@dataclass(frozen=True)
class Architecture:
    """A model: its width, its words, and its layers as (count, attention, feed-forward)."""

    name: str
    hidden: int
    vocabulary: int
    heads: int
    context_tokens: int  # the longest that it was published for
    layers: tuple[tuple[int, Attention, FeedForward], ...]
    tied_embeddings: bool = False
    published: str = "bf16"  # precision of the weights: bf16, fp8, fp4, mxfp4, int4, or why unknown
    four_bit_experts: bool = False  # its experts are published in four bits and stay so
    eight_bit_rest: bool = False  # and what lies beside them in eight
    looked_up: int = 0  # parameters of further tables, of which a token takes a row
    half_states: tuple[str, ...] = ()  # engines that keep its states in 16 bits, and not in 32
    beside: tuple[str, ...] = ()  # what its file describes and nothing here counts, as of images

    @property
    def layer_count(self) -> int:
        """Layers in all."""
        return sum(count for count, _, _ in self.layers)

    @functools.cached_property
    def _sums(self) -> tuple[int, int, int]:
        """Parameters of all layers: attention, dense and shared parts, routed experts."""
        return (
            sum(count * attention.parameters for count, attention, _ in self.layers),
            sum(count * part.dense_parameters for count, _, part in self.layers),
            sum(count * part.experts * part.expert_parameters for count, _, part in self.layers),
        )

    @property
    def attention_parameters(self) -> int:
        """Parameters of attention in all layers."""
        return self._sums[0]

    @property
    def dense_parameters(self) -> int:
        """Parameters of dense and shared feed-forward parts in all layers."""
        return self._sums[1]

    @property
    def routed_parameters(self) -> int:
        """Parameters of all routed experts in all layers."""
        return self._sums[2]

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the vocabulary, once or twice, and of further tables."""
        return self.vocabulary * self.hidden * (1 if self.tied_embeddings else 2) + self.looked_up

    @property
    def parameters(self) -> int:
        """All parameters (without norms, biases, vision and draft heads)."""
        return (
            self.attention_parameters
            + self.dense_parameters
            + self.routed_parameters
            + self.embedding_parameters
        )

    @property
    def active_parameters(self) -> int:
        """Parameters that one token is multiplied with, the vocabulary's once."""
        chosen = sum(count * part.chosen * part.expert_parameters for count, _, part in self.layers)
        return (
            self.attention_parameters
            + self.dense_parameters
            + chosen
            + self.vocabulary * self.hidden
        )

    @property
    def expert_counts(self) -> tuple[int, ...]:
        """Numbers of routed experts that occur in its layers."""
        return tuple(sorted({part.experts for _, _, part in self.layers if part.experts}))

    def cached_values(self, context_tokens: float) -> float:
        """Values in the cache of one sequence of `context_tokens`, states included."""
        total = 0.0
        for count, attention, _ in self.layers:
            kept = 0 if attention.borrowed else context_tokens
            if attention.window_tokens:
                kept = min(kept, attention.window_tokens)
            held = attention.state_values + attention.waiting_values
            total += count * (held + kept * (attention.cached_values + attention.index_values))
        return total
