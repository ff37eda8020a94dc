"""How fast the simulator of fleets is, beside others on the same requests, from a record.

Eight engines behind a router serve the chat trace of 2023, on more and more replicas at the same
load each, and sessions of a coding agent with caches. A day of ten million requests and real traces
under every policy are run once. Vidur and Dynamo's replay serve the same thousand requests, sent
round robin to eight engines whose steps take the same time: a part for each token that is read, and
where anybody writes, a fixed part, one for each answer and one for each token of its context.

`make bench-fleets` writes records/fleet_speed.json.

Assumes: processor time of one process; reading a trace counts for Dynamo's replay alone, which
takes it from a file.

Source: the record; the traces of Azure, Mooncake, RAGPulse and kv-cache-tester.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from serving_mathematics.support import checks
from serving_mathematics.support.measuring import digits, read_record, spread_text

RECORD = "fleet_speed"
SHARES = ("0.5", "0.99")
AIM_CHAT_PER_S, AIM_AGENTS_PER_S, AIM_DAY_S, AIM_DAY_GB = 100_000.0, 20_000.0, 600.0, 2.0
BOTH = "quantiles, ours and theirs"


def _rates(of: str) -> list[float]:
    """Requests a second of the cases whose name begins so, medians."""
    speed = read_record(RECORD)["speed"]
    return [row["per_s"]["median"] for name, row in speed.items() if name.startswith(of)]


def _aims() -> list[tuple[str, str, str, bool]]:
    """What fleets aimed at: of what, the aim, what was measured, and whether it was met."""
    day, chat, agents = read_record(RECORD)["day"], _rates("chat, 8 rep")[0], min(_rates("agents"))
    spent_s, memory_gb = day["cpu_s"], day["memory_gb"]
    rows = (
        ("a fleet of eight replicas, chat: requests/s", AIM_CHAT_PER_S, chat),
        ("a fleet with caches and sessions: requests/s", AIM_AGENTS_PER_S, agents),
    )
    found = [(of, f"{aim:,.0f} or more", digits(got), got >= aim) for of, aim, got in rows]
    of = f"a day of {day['requests']:,} requests"
    found.append((of, f"{AIM_DAY_S:g} s at most", f"{digits(spent_s)} s", spent_s <= AIM_DAY_S))
    got = f"{memory_gb:.2f} GB"
    found.append((f"{of}: memory", f"{AIM_DAY_GB:g} GB at most", got, memory_gb <= AIM_DAY_GB))
    return found


def _speed_rows() -> str:
    """A row for each case."""
    return "\n".join(
        f"| {name} | {row['requests']:,} | {spread_text(row['per_s'])} |"
        for name, row in read_record(RECORD)["speed"].items()
    )


def _peers() -> dict[str, dict[str, Any]]:
    """The peers that could be run."""
    return {peer: row for peer, row in read_record(RECORD)["peers"].items() if "ratio" in row}


def _peer_rows() -> str:
    """A row of each peer, and the first one with our own quantiles."""
    lines = []
    for number, (peer, row) in enumerate(_peers().items()):
        name, version = next(iter(row["packages"].items()))
        quantiles = [row[kind][BOTH][share] for kind in ("ttft_s", "tpot_s") for share in SHARES]
        ours, theirs = ([f"{1e3 * pair[own]:.2f}" for pair in quantiles] for own in (0, 1))
        if not number:
            spent = digits(1e3 * row["ours_cpu_s"]["median"])
            lines.append(("here", spent, "1", *ours, ""))
        spent, furthest = digits(1e3 * row["theirs_cpu_s"]["median"]), row["ttft_s"]["furthest"]
        apart = f"{1e3 * furthest:.2g}" if furthest > 1e-9 else "0"
        label = f"{peer}, {name} {version.removeprefix('==')}"
        lines.append((label, spent, spread_text(row["ratio"]), *theirs, apart))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def example() -> SimpleNamespace:
    """What the text quotes."""
    record, peers = read_record(RECORD), _peers()
    day, traces = record["day"], record["traces"]
    seconds = [one for row in traces.values() for one in row["seconds"].values()]
    chat = _rates("chat")
    return SimpleNamespace(
        fleets_made_on=record["date"],
        rows_fleets=_speed_rows(),
        rows_fleet_peers=_peer_rows(),
        peer_requests=next(iter(peers.values()))["requests"],
        day_requests=day["requests"],
        day_s=day["cpu_s"],
        day_gb=day["memory_gb"],
        routed_costs=chat[3] / chat[0],
        thousand_costs=chat[0] / chat[2],
        slowest_s=max(seconds),
        policies_tried=max(len(row["seconds"]) for row in traces.values()),
        vidur_ratio=peers["Vidur"]["ratio"]["median"],
        dynamo_ratio=peers["Dynamo"]["ratio"]["median"],
    )


def check_peers_say_the_same() -> None:
    """On engines whose steps take the same time, Vidur gives the same time to first token and time
    per token for every request as we do, and Dynamo's replay the same quantiles to one percent.

    Source: the record; Dynamo's replay is told means of context in whole tokens.
    """
    for peer, row in _peers().items():
        for kind in ("ttft_s", "tpot_s"):
            for share, (ours, theirs) in row[kind][BOTH].items():
                label = f"{peer}, {kind}, quantile {share}"
                checks.close(label, theirs, ours, rtol=0.01, kind="measured")
    for kind in ("ttft_s", "tpot_s"):
        furthest = _peers()["Vidur"][kind]["furthest"]
        checks.close(f"Vidur, {kind}, of any request", furthest, 0.0, atol=1e-9, kind="measured")


def check_what_replicas_cost() -> None:
    """With a router a request takes at most three times as long to simulate as on the same engines
    apart, and on 125 times as many replicas at most five times as long as on eight.

    Source: the record; the same requests on engines apart, and the same load on each replica.
    """
    eight, _, thousand, apart = _rates("chat")
    checks.inside("engines apart, over a fleet", apart / eight, 1.0, 3.0)
    checks.inside("eight replicas, over a thousand", eight / thousand, 1.0, 5.0)
