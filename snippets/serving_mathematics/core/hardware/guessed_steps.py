"""Times of steps and prompts with all that guesses in them.

With γ guesses a step is one pass of the model over γ + 1 positions of each sequence, and the passes
of what guesses: a draft model takes γ, the first over the positions that the last step settled, the
others over one each. Without guesses it is `decode_step_s` and `prompt_s`.

Assumes: what the chapter's `speculative_decoding` assumes, whose functions these are.

Source: Leviathan, Kalman and Matias (2023), arXiv 2211.17192; vLLM documentation, speculative
decoding.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from serving_mathematics.core.hardware.deployments import FROM_TEXT, Deployment, draft_engine
from serving_mathematics.core.hardware.step_time import (
    Array,
    Constants,
    count_work,
    prompt_s,
    step_parts,
)
from serving_mathematics.support.require import as_floats, require, require_all_non_negative


def guessed_step_s(
    deployment: Deployment, constants: Constants, sequences: ArrayLike, context: ArrayLike
) -> Array:
    """Time of decoding steps with all that guesses in them, shape (n,), in seconds.

    sequences: in the whole engine, shape (n,) or one number. context: tokens that each has, the
    same. Raises ValueError unless both are finite and not negative, and of one length.

    >>> from dataclasses import replace
    >>> from serving_mathematics.core.hardware.deployments import FROM_TEXT, WORKED
    >>> from serving_mathematics.core.hardware.step_time import FITTED
    >>> guessing = replace(WORKED, draft_tokens=3, accepted_tokens=2.5, drafter=FROM_TEXT)
    >>> few = guessed_step_s(guessing, FITTED, 1, 1000) / guessed_step_s(WORKED, FITTED, 1, 1000)
    >>> many = guessed_step_s(guessing, FITTED, 256, 100) / guessed_step_s(WORKED, FITTED, 256, 100)
    >>> float(few[0].round(2)), bool(many[0] > 1.5)  # four times as much to multiply
    (1.0, True)
    """
    sequences, context = require_all_non_negative(sequences=sequences, context=context)
    sizes = {np.size(sequences), np.size(context)}
    require(len(sizes - {1}) <= 1, "context", "as many as sequences, or one", np.size(context))
    counts, contexts = np.broadcast_arrays(
        *(np.atleast_1d(np.asarray(given, dtype=float)) for given in (sequences, context))
    )
    taken = _passes(deployment, constants, counts, contexts)
    draft, guesses = draft_engine(deployment), deployment.draft_tokens
    if draft:
        settled = replace(draft, draft_tokens=guesses, drafter=FROM_TEXT)  # γ + 1 positions
        taken = taken + _passes(settled, constants, counts, contexts, asked=False)
        single = _passes(draft, constants, counts, contexts, asked=False)
        taken = taken + (guesses - 1) * single
    return taken


def _passes(
    one: Deployment, constants: Constants, counts: Array, contexts: Array, asked: bool = True
) -> Array:
    """Time of one pass each, the host's work left out where it is not asked."""
    parts = step_parts(count_work([one]), constants, counts, contexts)
    return parts.total() - (0.0 if asked else parts.host)


def guessed_prompt_s(deployment: Deployment, constants: Constants, tokens: ArrayLike) -> Array:
    """Time of prompts, each alone, shape (n,), in seconds; a draft model reads them as well.

    tokens: of the prompts, shape (n,) or one number. Raises ValueError unless they are finite and
    not negative.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.step_time import FITTED
    >>> bool(0.01 < guessed_prompt_s(WORKED, FITTED, [1000])[0] < 0.05)
    True
    """
    tokens = require_all_non_negative(tokens=tokens)
    lengths = np.atleast_1d(as_floats(tokens=tokens))
    engines = [deployment, draft_engine(deployment)]
    works = [replace(count_work([one]), prompt=lengths) for one in engines if one]
    return np.asarray(sum(prompt_s(work, constants) for work in works), dtype=float)
