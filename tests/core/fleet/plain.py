"""A fleet step by step, with every block and every sequence looked at: slow, and written apart.

What it shares with the simulator is the engine's costs and the policies; nothing is skipped, blocks
have identities in a queue of free ones, and lines are sorted when somebody is wanted.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
from serving_mathematics.core.batching.continuous_batching import TICK_S, Engine
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.requests import Requests

Key = tuple[int, int]


@dataclass
class Sequence:
    number: int
    known: int  # tokens of the prompt and those that came out
    todo: int = 0  # of them to prefill
    private: int = 0  # blocks
    turn: int = 0  # of its admission
    keys: list[Key] = field(default_factory=list)  # of its shared blocks


class Blocks:
    """Blocks by identity, the free ones in the order in which they go."""

    def __init__(self) -> None:
        self.users: dict[Key, int] = {}
        self.free: OrderedDict[Key, None] = OrderedDict()
        self.evicted = 0

    def use(self, keys: list[Key]) -> None:
        for key in keys:
            self.users[key] = self.users.get(key, 0) + 1
            self.free.pop(key, None)

    def leave(self, keys: list[Key], computed: int) -> None:
        for place in reversed(range(len(keys))):
            key = keys[place]
            self.users[key] -= 1
            if not self.users[key]:
                if place < computed:
                    self.free[key] = None
                else:
                    del self.users[key]

    def shrink(self, excess: int) -> None:
        for _ in range(excess):
            key, _none = self.free.popitem(last=False)
            del self.users[key]
            self.evicted += 1


class PlainEngine:
    def __init__(self, engine: Engine, fleet: Fleet, book: Any, place: int) -> None:
        self.engine, self.fleet, self.book = engine, fleet, book
        self.reads_only = place < fleet.prompt_engines
        self.answers_only = bool(fleet.prompt_engines) and not self.reads_only
        self.caching = fleet.caching and not self.answers_only
        self.tiers = [
            book.common.setdefault(number, Blocks()) if tier.for_all else Blocks()
            for number, tier in enumerate(fleet.tiers if self.caching else ())
        ]
        self.blocks = Blocks()
        self.running: list[Sequence] = []
        self.waiting: list[Sequence] = []
        self.step_ends = math.inf
        self.since, self.work, self.ticks, self.tokens = 0.0, [0, 0, 0, 0], 0, 0
        self.total, self.busy_s, self.stored = [0, 0, 0, 0], 0.0, 0
        self.kept: set[Key] = set()
        self.standing = False
        self.decoding: list[Sequence] = []
        self.chunks: list[tuple[Sequence, int]] = []
        self.line = book.plain_line()
        self.dead, self.began, self.step = False, 0.0, (0, 0, 0, 0)
        self.told: list[tuple[int, float]] = []  # whose client left, or −1 and until when to stand

    def hear(self, now: float) -> bool:
        """Let go of those whose clients have left; whether somebody was running. It may stand still
        instead, and hear the rest when it goes on."""
        moved = False
        while self.told:
            number, until = self.told.pop(0)
            if number < 0:
                self.busy_s += now - self.since if self.step_ends < math.inf else 0.0
                self.total = [a + b for a, b in zip(self.total, self.work, strict=True)]
                self.work, self.ticks = [0, 0, 0, 0], 0
                self.step_ends = self.since = max(now, until)
                self.chunks, self.decoding, self.standing = [], [], True
                return moved
            for one in [one for one in self.waiting if one.number == number]:
                self.line.drop(one, self)
            for one in [one for one in self.running if one.number == number]:
                self.running.remove(one)
                read = (
                    one.known - one.todo if one.todo else len(one.keys) * self.engine.block_tokens
                )
                self.blocks.leave(one.keys, read // self.engine.block_tokens)
                moved = True
        return moved

    def flush(self) -> None:
        """Lost in the middle of a step, which is not counted."""
        if self.step_ends < math.inf:
            self.busy_s += self.began - self.since
            steps = [a - b for a, b in zip(self.work, self.step, strict=True)]
            self.total = [a + b for a, b in zip(self.total, steps, strict=True)]
        self.running, self.waiting, self.stored = [], [], 0
        self.step_ends = math.inf

    def used(self) -> int:
        return sum(one.private for one in self.running) + len(self.blocks.users)

    def spare(self) -> int:
        return self.engine.kv_blocks - self.used() + len(self.blocks.free)

    def begin(self, now: float) -> None:
        """Start the step that begins now, if there is anything to do."""
        book, engine, block = self.book, self.engine, self.engine.block_tokens
        self.standing = False
        moved = self.hear(now)
        if self.standing:
            book.changed[id(self)] = book.changed.get(id(self), False) or moved
            return
        moved = book.changed.pop(id(self), False) or moved
        for one in list(self.running):
            if one not in self.running:
                continue
            kept = (
                one.known
                if not one.todo
                else one.known
                - one.todo
                + min(
                    one.todo,
                    engine.token_budget - sum(1 for other in self.running if not other.todo),
                )
            )
            one.private = max(one.private, -(-kept // block) - len(one.keys))
        while self.spare() < 0:
            self.blocks.shrink(len(self.blocks.free))
            victim = max(self.running, key=lambda one: (book.rank(one.number), one.turn))
            self.running.remove(victim)
            read = victim.known - victim.todo if victim.todo else len(victim.keys) * block
            self.blocks.leave(victim.keys, read // block)
            victim.keys, victim.private, victim.todo = [], 0, victim.known
            book.preemptions[victim.number] += 1
            book.ready[victim.number] = False
            self.line.back(victim, self)
            moved = True
        self.blocks.shrink(max(0, self.used() - engine.kv_blocks))
        decoding = [one for one in self.running if not one.todo]
        left = engine.token_budget - len(decoding)
        self.chunks = []
        for one in self.running:
            if one.todo:
                self.chunks.append((one, min(one.todo, left)))
                left -= min(one.todo, left)
        while left and len(self.running) < engine.max_sequences:
            one = self.line.best(self)
            if one is None:
                break
            keys = book.keys(one.number) if self.caching else []
            found = _found(keys, self.blocks.users)
            missing = sum(1 for key in keys if not self.blocks.users.get(key))
            needed = -(-one.known // block) - len(keys)
            margin = self.fleet.watermark_blocks if self.running else 0
            if needed + missing + margin > self.spare():
                break
            self.line.taken(one, self)
            self.blocks.use(keys)
            one.keys, one.private = keys, needed
            self.running.append(one)
            self.blocks.shrink(max(0, self.used() - engine.kv_blocks))
            if self.caching:
                most = (one.known - 1) // block
                found = min(found, most)
                for tier, kept in zip(self.fleet.tiers, self.tiers, strict=False):
                    deeper = min(_found(keys, kept.users), most)
                    if deeper > found:
                        load = round(tier.block_bytes / tier.bytes_per_s / TICK_S)
                        self.ticks += (deeper - found) * load
                        book.loaded[one.number] += (deeper - found) * block
                        found = deeper
                book.cached[one.number] = found * block
            if math.isnan(book.admitted[one.number]):
                book.admitted[one.number] = now
                book.found[one.number] = book.cached[one.number]
            one.turn = book.turns = book.turns + 1
            moved = True
            if book.ready[one.number]:
                decoding.append(one)
                left -= 1
                continue
            one.todo = one.known - book.cached[one.number]
            self.line.read(one, one.todo)
            self.chunks.append((one, min(one.todo, left)))
            left -= min(one.todo, left)
        if moved:
            self.stored = sum(one.known - 1 for one in decoding)
            self.kept = set(self.blocks.users)
        self.decoding = decoding
        if not decoding and not self.chunks:
            self.busy_s += now - self.since if self.step_ends < math.inf else 0.0
            self.total = [a + b for a, b in zip(self.total, self.work, strict=True)]
            self.work, self.ticks, self.step_ends = [0, 0, 0, 0], 0, math.inf
            return
        if self.step_ends == math.inf:
            self.since = now
        batch, prompt, prompt_end, change = book.tables(engine)
        prefill = sum(chunk for _, chunk in self.chunks)
        self.ticks += batch[len(decoding)]
        self.ticks += change if prefill + len(decoding) != self.tokens else 0
        self.tokens = prefill + len(decoding)
        for one, chunk in self.chunks:
            end = one.known - one.todo + chunk
            self.ticks += prompt[end] - prompt[end - chunk]
            self.ticks += prompt_end if one.todo == chunk else 0
        step = (1, prefill, len(decoding), sum(one.known for one in decoding))
        self.step, self.began = step, now
        self.work = [a + b for a, b in zip(self.work, step, strict=True)]
        self.step_ends = self.since + (engine.elapsed_s(*self.work) + TICK_S * self.ticks)

    def end(self, now: float) -> list[int]:
        """Finish the step that ends now; returns the requests that it ends."""
        book = self.book
        for one, chunk in self.chunks:
            one.todo -= chunk
        fresh = [one for one, _ in self.chunks if not one.todo]
        for one in self.decoding:
            self.line.wrote(one)
        done = []
        for one in [*sorted(self.decoding, key=lambda one: one.number), *fresh]:
            one.known += 1
            book.changed[id(self)] = book.changed.get(id(self), False) or one in fresh
            if math.isnan(book.first[one.number]):
                book.first[one.number] = now
            last = 1 if self.reads_only else book.output[one.number]
            if one.known == book.prompt[one.number] + last:
                book.completion[one.number] = now
                book.changed[id(self)] = True
                self.running.remove(one)
                more = []
                if self.caching and not self.reads_only:
                    more = book.answer_keys(one.number)
                for key in more:
                    self.blocks.users.setdefault(key, 0)
                self.blocks.use(more)
                self.blocks.leave(one.keys + more, len(one.keys + more))
                for tier, kept in zip(self.fleet.tiers, self.tiers, strict=False):
                    kept.use(one.keys + more)
                    kept.leave(one.keys + more, len(one.keys + more))
                    kept.shrink(max(0, len(kept.users) - tier.blocks))
                done.append(one.number)
        return done


class PlainLine:
    """First come first served, by rank, or fair."""

    def __init__(self, book: Any, kind: str) -> None:
        self.book, self.kind = book, kind
        self.count = 0
        self.came: dict[int, int] = {}
        self.tokens = [0] * len(book.weights)
        self.lift = [0.0] * len(book.weights)
        self.seen: list[Sequence] = []
        self.last = -1

    def push(self, one: Sequence, at: PlainEngine) -> None:
        self.count += 1
        self.came[one.number] = self.count
        at.waiting.append(one)

    def back(self, one: Sequence, at: PlainEngine) -> None:
        if self.kind != "priority":
            self.came[one.number] = -sum(self.book.preemptions)
        self.seen.append(one)
        at.waiting.append(one)

    def counter(self, who: int) -> float:
        return self.lift[who] + self.tokens[who] / self.book.weights[who]

    def best(self, at: PlainEngine) -> Sequence | None:
        tenant = self.book.tenant
        for one in sorted(at.waiting, key=lambda one: self.came[one.number]):
            if one not in self.seen:
                who = tenant[one.number]
                there = {tenant[other.number] for other in self.seen}
                if who not in there:
                    last = [self.counter(self.last)] if self.last >= 0 else [0.0]
                    least = min([self.counter(j) for j in there] or last)
                    self.lift[who] += max(0.0, least - self.counter(who))
                self.seen.append(one)
        if not at.waiting:
            return None
        by = {
            "first": lambda one: (self.came[one.number],),
            "priority": lambda one: (self.book.priority[one.number], self.came[one.number]),
            "fair": lambda one: (
                self.counter(tenant[one.number]),
                tenant[one.number],
                self.came[one.number],
            ),
        }[self.kind]
        return min(at.waiting, key=by)

    def taken(self, one: Sequence, at: PlainEngine) -> None:
        at.waiting.remove(one)
        self.seen.remove(one)
        who = self.book.tenant[one.number]
        if all(self.book.tenant[other.number] != who for other in self.seen):
            self.last = who

    def drop(self, one: Sequence, at: PlainEngine) -> None:
        if one in self.seen:
            self.taken(one, at)
        else:
            at.waiting.remove(one)

    def read(self, one: Sequence, tokens: int) -> None:
        self.tokens[self.book.tenant[one.number]] += tokens

    def wrote(self, one: Sequence) -> None:
        self.tokens[self.book.tenant[one.number]] += 2


def book_of(requests: Requests, fleet: Fleet, kind: str, weights: list[float]) -> Any:
    """Columns as lists, and what is known of them."""
    size = requests.arrival_s.size
    book = SimpleNamespace(
        prompt=requests.prompt_tokens.tolist(),
        output=requests.output_tokens.tolist(),
        cached=requests.cached_tokens.tolist(),
        tenant=requests.tenant.tolist(),
        priority=requests.priority.tolist(),
        weights=weights,
        changed={},
        ready=[False] * size,
        let_in=[False] * size,
        requests=requests,
        loaded=[0] * size,
        common={},
        turns=0,
        admitted=[math.nan] * size,
        first=[math.nan] * size,
        found=[0] * size,
        completion=[math.nan] * size,
        preemptions=[0] * size,
        engine=[-1] * size,
        gone=[False] * size,
        known=[False] * size,
        until=[math.inf] * size,
        who=list(range(size)),
    )
    block = fleet.engines[0].block_tokens

    def keys_to(node: int) -> list[Key]:
        tree, way = requests.prefixes, []
        assert tree is not None
        while node >= 0:
            way.append(node)
            node = int(tree.parent[node])
        owners = [node for node in reversed(way) for _ in range(int(tree.tokens[node]))]
        return [(owners[end - 1], end) for end in range(block, len(owners) + 1, block)]

    def keys(number: int) -> list[Key]:
        node = requests.prefixes.node if fleet.caching else []
        return keys_to(int(node[book.who[number]])) if fleet.caching else []

    def answer_keys(number: int) -> list[Key]:
        node = int(requests.prefixes.answer_node[book.who[number]])
        return keys_to(node)[len(keys(number)) :]

    book.keys, book.answer_keys = keys, answer_keys
    book.rank = lambda number: book.priority[number] if kind == "priority" else 0
    longest = int((requests.prompt_tokens + requests.output_tokens).max())
    none = ([0] * 1000, [0] * longest, 0, 0)
    book.tables = lambda engine: (
        none
        if engine.table is None
        else (engine.table.batch, engine.table.prompt, engine.table.prompt_end, engine.table.change)
    )
    book.plain_line = lambda: PlainLine(book, kind)
    return book


def simulate_plainly(
    requests: Requests, fleet: Fleet, kind: str = "first", weights: tuple[float, ...] = (1.0,)
) -> Any:
    """What `simulate_fleet` answers, for lines of a kind."""
    book = book_of(requests, fleet, kind, list(weights))
    weights_of = book.weights
    engines = [PlainEngine(engine, fleet, book, e) for e, engine in enumerate(fleet.engines)]
    size, count = requests.arrival_s.size, len(engines)
    book.due, book.sent = np.full(size, np.nan), np.full(size, np.nan)
    book.refused = np.zeros(size, dtype=int)
    first_answers = fleet.prompt_engines or 0
    free_s = [0.0] * count

    def view_of(serving: list[int]) -> Any:
        return SimpleNamespace(
            serving=serving,
            requests=[0] * count,
            memory={},
            ledger=book,
            looked=-math.inf,
            found_blocks=lambda i, e: _found(book.keys(i), engines[e].kept),
        )

    view = view_of(list(range(first_answers or count)))
    answers = view_of(list(range(first_answers, count)) if first_answers else [])
    agenda: list[tuple[float, int, int, int, str]] = []  # time, kind, order, request, what
    for number in np.flatnonzero(requests.after < 0).tolist():
        agenda.append((float(requests.arrival_s[number]), 0, number, number, "due"))
    for number, (when, place) in enumerate(fleet.failures):
        agenda.append((when, 4, -number, place, "fail"))
    for number, (when, _, place) in enumerate(fleet.stalls):
        agenda.append((when, 4, -len(fleet.failures) - number, place, f"stall {number}"))
    late: list[int] = []
    held: list[int] = []
    flying = 0

    def look(seen: Any, now: float) -> None:
        seen.now = now
        if not fleet.refresh_s or now - seen.looked >= fleet.refresh_s:
            seen.looked = now
            seen.waiting = [len(one.waiting) for one in engines]
            seen.running = [len(one.running) for one in engines]
            seen.stored = [one.stored for one in engines]

    def deliver(number: int, place: int, seen: Any, now: float) -> None:
        book.engine[number] = place
        seen.requests[place] += 1
        known = book.prompt[number] + int(book.ready[number])
        engines[place].line.push(Sequence(number, known), engines[place])
        if engines[place].step_ends == math.inf:
            agenda.append((now, 2, place, -1, "wake"))

    def refuse(number: int, now: float) -> None:
        book.refused[book.who[number]] += 1
        book.until[number] = math.inf
        pause = fleet.retry(book.who[number], int(book.refused[book.who[number]]), view)
        if pause < math.inf:
            agenda.append((now + pause, 3, number, number, "again"))
        else:
            leave(now)

    def forget(number: int) -> None:
        book.engine[number], book.ready[number] = -1, False
        book.admitted[number] = book.first[number] = math.nan

    def tell(place: int, number: int, until: float, now: float) -> None:
        engines[place].told.append((number, until))
        if engines[place].step_ends == math.inf:
            agenda.append((now, 2, place, -1, "wake"))

    def hear(number: int, now: float) -> None:
        if not book.known[number]:
            book.known[number] = True
            view.requests[book.engine[number]] -= 1
            tell(book.engine[number], number, 0.0, now)

    def give_up(number: int, now: float) -> None:
        if book.until[number] != now or not math.isnan(book.first[number]):
            return
        book.gone[number] = True
        place = book.engine[number]
        if place >= 0 and fleet.cancels:
            if fleet.hears_s:
                agenda.append((now + fleet.hears_s, 5, number, number, "hear"))
            else:
                hear(number, now)
        for column in vars(book).values():
            if isinstance(column, list) and column is not weights_of:
                column.append(column[number])
        book.admitted[-1] = book.first[-1] = book.completion[-1] = math.nan
        book.engine[-1], book.ready[-1] = -1, False
        book.gone[-1] = book.known[-1] = False
        refuse(len(book.who) - 1, now)
        agenda.extend((now, 3, held_one, held_one, "again") for held_one in held)
        held.clear()

    def route(number: int, now: float) -> None:
        if book.ready[number]:
            look(answers, now)
            if answers.serving:
                deliver(number, fleet.route_answer(book.who[number], answers), answers, now)
            else:
                forget(number)
                if not book.gone[number]:
                    refuse(number, now)
            return
        if book.gone[number]:
            return
        if book.until[number] == math.inf:
            book.until[number] = now + float(requests.patience_s[book.who[number]])
            agenda.append((book.until[number], 5, number, number, "leave"))
        look(view, now)
        if fleet.admit is not None and not book.let_in[number]:
            pause = fleet.admit(book.who[number], view)
            book.let_in[number] = not pause
            if pause == math.inf:
                refuse(number, now)
            elif pause:
                agenda.append((now + pause, 3, number, number, "again"))
            if pause:
                return
        if not view.serving:
            refuse(number, now)
            return
        place = fleet.route(book.who[number], view)
        if place < 0:
            held.append(number)
            return
        here = engines[place]
        tokens = sum(book.prompt[one.number] for one in here.waiting)
        more = tokens + book.prompt[number]
        if len(here.waiting) >= fleet.most_waiting or more > fleet.most_waiting_tokens:
            refuse(number, now)
        else:
            deliver(number, place, view, now)

    def send(number: int, now: float) -> None:
        nonlocal flying
        book.due[number] = now
        if flying >= fleet.most_in_flight:
            late.append(number)
            return
        flying += 1
        book.sent[number] = now
        route(number, now)

    def leave(now: float) -> None:
        nonlocal flying
        flying -= 1
        if late:
            number = late.pop(0)
            flying += 1
            book.sent[number] = now
            agenda.append((now, 3, number, number, "again"))

    def fail(place: int, now: float) -> None:
        one = engines[place]
        if one.dead:
            return
        one.dead = True
        for seen in (view, answers):
            seen.requests[place] = 0
            if place in seen.serving:
                seen.serving.remove(place)
        lost = sorted(each.number for each in one.running + one.waiting)
        one.flush()
        for number in lost:
            forget(number)
        for number in lost:
            if not book.gone[number]:
                refuse(number, now)
        agenda.extend((now, 3, number, number, "again") for number in held)
        held.clear()

    def moves(number: int, place: int, now: float) -> bool:
        if not engines[place].reads_only or book.output[number] == 1:
            return False
        size = fleet.token_bytes * book.prompt[number]
        free_s[place] = max(now, free_s[place]) + size / fleet.link_bytes_per_s
        book.ready[number] = True
        book.completion[number], book.engine[number] = math.nan, -1
        agenda.append((free_s[place] + fleet.link_s, 3, number, number, "again"))
        return True

    while True:
        agenda.sort(key=lambda one: one[:3])
        stepping = min(range(count), key=lambda place: engines[place].step_ends)
        step_s = engines[stepping].step_ends
        if agenda and agenda[0][0] == math.inf:
            agenda.pop(0)  # who never leaves
            continue
        if agenda and agenda[0][:3] <= (step_s, 2, stepping):
            now, _, place, number, what = agenda.pop(0)
            if what == "wake":
                if engines[place].step_ends == math.inf and not engines[place].dead:
                    engines[place].begin(now)
            elif what == "due":
                send(number, now)
            elif what == "fail":
                fail(number, now)
            elif what == "leave":
                give_up(number, now)
            elif what == "hear":
                hear(number, now)
            elif what.startswith("stall"):
                if not engines[number].dead:
                    tell(number, -1, fleet.stalls[int(what.split()[1])][1], now)
            else:
                route(number, now)
            continue
        if step_s == math.inf:
            break
        done = engines[stepping].end(step_s)
        engines[stepping].begin(step_s)
        someone = bool(done)
        done = [number for number in done if not book.known[number]]
        seen = answers if engines[stepping].answers_only else view
        seen.requests[stepping] -= len(done)
        over = [number for number in done if not moves(number, stepping, step_s)]
        for number in over:
            book.known[number] = book.gone[number]
            if book.gone[number]:
                continue
            leave(step_s)
            for follower in np.flatnonzero(requests.after == book.who[number]).tolist():
                when = max(step_s + requests.pause_s[follower], requests.arrival_s[follower])
                agenda.append((float(when), 3, follower, follower, "due"))
        if someone:
            agenda.extend((step_s, 3, number, number, "again") for number in held)
            held.clear()
    last = {who: number for number, who in enumerate(book.who)}  # attempt of each request
    for name in ("admitted", "first", "completion", "engine", "preemptions", "found", "loaded"):
        column = getattr(book, name)
        setattr(book, name, np.array([column[last[number]] for number in range(size)]))
    book.busy_s = np.array([one.busy_s for one in engines])
    book.work = np.array([one.total for one in engines])
    book.evicted = np.array([one.blocks.evicted for one in engines])
    return book


def _found(keys: list[Key], kept: Collection[Key]) -> int:
    count = 0
    while count < len(keys) and keys[count] in kept:
        count += 1
    return count
