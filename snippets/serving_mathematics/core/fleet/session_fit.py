"""The law of a trace's sessions, and whether drawn ones are like those that it never saw.

Tables are the quantiles of the trace; a habit is the share of the variance of logarithms that lies
between sessions. Whether the law is right is asked of other sessions, by `summary`, whose lines
were written down before anything was fitted: medians within 15%, 90th percentiles within 25%,
shares within 0.03.

Assumes: what `sessions` assumes.

Source: analysis of variance with unequal groups for the habit, Searle, Casella and McCulloch
(1992), section 3.6.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.fleet.block_cache import BlockCache
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.sessions import LEVELS, Quantity, SessionLaw
from serving_mathematics.support.require import as_floats, require, require_non_negative

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
CUT = 0.9  # a prompt that repeats less of the one before has lost a part of its context
BLOCK = 64  # tokens of a block in the caches that a summary asks
CACHES = (2_000_000, 8_000_000, 32_000_000)  # tokens that they hold


def fitted_quantity(values: npt.ArrayLike, session: npt.ArrayLike | None = None) -> Quantity:
    """The law of values, and how much of it is the habit of sessions.

    values: positive, shape (n,). session: whose each is, shape (n,). The habit is the share of the
    variance of logarithms that lies between sessions, by analysis of variance. Raises ValueError on
    other values.

    >>> fitted_quantity([5.0, 5.0, 20.0, 20.0], [0, 0, 1, 1]).habit
    1.0
    """
    given = as_floats(values=values)
    right = given.ndim == 1 and given.size > 0 and np.all((given > 0) & np.isfinite(given))
    require(right, "values", "positive, of shape (n,)", given)
    quantiles = tuple(float(x) for x in np.quantile(given, LEVELS))
    if session is None:
        return Quantity(quantiles)
    logs, (_, of) = np.log(given), np.unique(np.asarray(session), return_inverse=True)
    counts = np.bincount(of)
    require(of.size == logs.size, "session", f"of shape ({logs.size},)", of.shape)
    means = np.bincount(of, logs) / counts
    within = float(((logs - means[of]) ** 2).sum()) / max(1, logs.size - counts.size)
    spread = float((counts * (means - logs.mean()) ** 2).sum()) / max(1, counts.size - 1)
    size = (logs.size - float((counts**2).sum()) / logs.size) / max(1, counts.size - 1)
    between = max(0.0, (spread - within) / size) if size > 0 else 0.0
    total = between + within
    return Quantity(quantiles, between / total if total > 0 else 0.0)


def reused_tokens(requests: Requests) -> IntArray:
    """Tokens at the beginning of each prompt that the request before it in its session had, shape
    (n,). Raises ValueError where it is not known what prompts share.

    >>> from serving_mathematics.core.fleet.sharing import prefixes_of_reuse
    >>> tree = prefixes_of_reuse([-1, 0], [0, 60], [100, 90])
    >>> reused_tokens(Requests([0, 0], [100, 90], [1, 1], after=[-1, 0], prefixes=tree)).tolist()
    [0, 60]
    """
    tree = requests.prefixes
    require(tree is not None, "requests.prefixes", "given", tree)
    assert tree is not None
    parent, ends = tree.parent.tolist(), tree.ends().tolist()
    found = np.zeros(requests.after.size, dtype=np.int64)
    for request, before in enumerate(requests.after.tolist()):
        if before < 0:
            continue
        one, other = int(tree.node[request]), int(tree.node[before])
        while one != other:  # the deeper of two nodes is the later one
            one, other = max(one, other), min(one, other)
            one = parent[one]
        found[request] = ends[one] if one >= 0 else 0
    return found


def session_of(requests: Requests) -> IntArray:
    """The session of each request, numbered from 0, shape (n,).

    >>> session_of(Requests([0, 0, 1], [9, 9, 9], [1, 1, 1], after=[-1, 0, -1])).tolist()
    [0, 0, 1]
    """
    found: list[int] = []
    count = 0
    for before in requests.after.tolist():
        found.append(found[before] if before >= 0 else count)
        count += before < 0
    return np.array(found, dtype=np.int64)


def fit_sessions(requests: Requests) -> SessionLaw:
    """The law of the sessions of a trace.

    requests: sessions that say what their prompts share, of more than one request somewhere. Raises
    ValueError where nothing follows anything.

    >>> from serving_mathematics.core.fleet.sharing import prefixes_of_reuse
    >>> tree = prefixes_of_reuse([-1, 0], [0, 100], [100, 130])
    >>> law = fit_sessions(Requests([0, 0], [100, 130], [1, 1], after=[-1, 0], prefixes=tree))
    >>> round(law.new_tokens.quantiles[4]), law.cut_share
    (30, 0.0)
    """
    session, later = session_of(requests), requests.after >= 0
    require(bool(later.any()), "requests", "sessions of more than one request", "none")
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

    >>> from serving_mathematics.core.fleet.sessions import AGENT, draw_sessions
    >>> round(summary(draw_sessions(np.random.default_rng(1), AGENT, 50))["repeated"], 1)
    1.0
    """
    session_gap_s = require_non_negative(session_gap_s=session_gap_s)
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
