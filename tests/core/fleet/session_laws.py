"""The law of a trace's sessions, as that of AGENT was found, and whether drawn ones are like those
that it never saw.

Tables are the quantiles of the trace; a habit is the share of the variance of logarithms that lies
between sessions (Searle, Casella and McCulloch, 1992, section 3.6). Whether the law is right is
asked of other sessions, by `summary`, whose lines were written down before anything was fitted:
medians within 15%, 90th percentiles within 25%, shares within 0.03.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from serving_mathematics.core.fleet.block_cache import BlockCache
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.sessions import LEVELS, Quantity, SessionLaw
from serving_mathematics.core.fleet.sharing import reused_tokens, session_of

FloatArray = npt.NDArray[np.float64]
CUT = 0.9  # a prompt that repeats less of the one before has lost a part of its context
BLOCK = 64  # tokens of a block in the caches that a summary asks
CACHES = (2_000_000, 8_000_000, 32_000_000)  # tokens that they hold


def fitted_quantity(values: npt.ArrayLike, session: npt.ArrayLike | None = None) -> Quantity:
    """The law of positive values, and how much of it is the habit of the sessions that they are
    of."""
    given = np.asarray(values, dtype=float)
    quantiles = tuple(float(x) for x in np.quantile(given, LEVELS))
    if session is None:
        return Quantity(quantiles)
    logs, (_, of) = np.log(given), np.unique(np.asarray(session), return_inverse=True)
    counts = np.bincount(of)
    means = np.bincount(of, logs) / counts
    within = float(((logs - means[of]) ** 2).sum()) / max(1, logs.size - counts.size)
    spread = float((counts * (means - logs.mean()) ** 2).sum()) / max(1, counts.size - 1)
    size = (logs.size - float((counts**2).sum()) / logs.size) / max(1, counts.size - 1)
    between = max(0.0, (spread - within) / size) if size > 0 else 0.0
    total = between + within
    return Quantity(quantiles, between / total if total > 0 else 0.0)


def fit_sessions(requests: Requests) -> SessionLaw:
    """The law of sessions that say what their prompts share."""
    session, later = session_of(requests), requests.after >= 0
    prompts, reused = requests.prompt_tokens, reused_tokens(requests)
    before = np.where(later, prompts[requests.after], 1)
    cut = later & (reused < CUT * before)
    grown = later & ~cut if (later & ~cut).any() else later
    new = np.maximum(prompts - reused, 1)
    counts = np.bincount(session.astype(np.intp))
    firsts = prompts[~later]
    some = cut if cut.any() else later
    return SessionLaw(
        fitted_quantity(counts),
        fitted_quantity(firsts),
        fitted_quantity(new[grown], session[grown]),
        fitted_quantity(requests.output_tokens, session),
        fitted_quantity(np.maximum(requests.pause_s[later], 1e-3), session[later]),
        _correlation(np.log(counts), np.log(firsts)),
        float(cut.sum() / later.sum()),
        fitted_quantity(np.maximum(reused[some] / before[some], 1e-6)),
        fitted_quantity(new[some]),
    )


def _correlation(one: FloatArray, other: FloatArray) -> float:
    if one.size < 2 or not (one.std() > 0 and other.std() > 0):
        return 0.0
    return float(np.clip(np.corrcoef(one, other)[0, 1], -1.0, 1.0))


def summary(requests: Requests, session_gap_s: float = 60.0) -> dict[str, float]:
    """What sessions are compared by: medians and 90th percentiles of requests in a session, of
    prompts, answers and pauses; the share of prompt tokens that is repeated; and the shares that
    caches of three sizes find when a session begins every so often and answers take no time.
    """
    later = requests.after >= 0
    session = session_of(requests)
    parts = {
        "requests": np.bincount(session.astype(np.intp)),
        "prompt tokens": requests.prompt_tokens,
        "output tokens": requests.output_tokens,
        "pause [s]": requests.pause_s[later],
    }
    found = {
        f"{name}, {level}": float(np.quantile(values, at))
        for name, values in parts.items()
        for level, at in (("median", 0.5), ("p90", 0.9))
    }
    prompts = requests.prompt_tokens
    found["repeated"] = float(reused_tokens(requests).sum() / prompts.sum())
    clock: list[float] = []
    for before, pause, own in zip(
        requests.after.tolist(), requests.pause_s.tolist(), session.tolist(), strict=True
    ):
        clock.append(clock[before] + pause if before >= 0 else session_gap_s * own)
    assert requests.prefixes is not None
    tree = requests.prefixes.in_blocks(BLOCK)
    order = np.argsort(clock, kind="stable").tolist()
    for size in CACHES:
        cache, hits = BlockCache(tree), 0
        for request in order:
            chain, depth = int(tree.chain[request]), int(tree.blocks[request])
            hits += cache.look(chain, depth)[1]
            cache.hold(chain, depth)
            cache.release(chain, depth)
            cache.shrink(cache.resident - size // BLOCK)
        found[f"found in {size / 1e6:g} M tokens"] = hits * BLOCK / float(prompts.sum())
    return found
