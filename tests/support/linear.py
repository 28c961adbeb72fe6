"""Judges histories of one key each: what clients of several hosts have asked, and what they were told.

    find_order(operations)    an order of the operations that explains all replies and respects time; None:
                              there is none, so the history is not linearizable
    find_stale(operations)    local reads that returned what was replaced longer ago than they may
    find_disorder(operations) numbers (CAS) that do not go with time

An operation whose reply is unknown (an error, a lost connection) may have taken effect at any time after it
began, also long after the client gave up, or never.

find_order is the search of Wing and Gong with Lowe's memory of what was tried: it picks operations one by
one among those that began before the first reply that is still to be explained, and comes back when a reply
cannot be explained. An unknown operation may be left out, so of two ways to the same state the one that has
used fewer of them is enough. Keys are judged one by one, because linearizability of all keys is that of
each (Herlihy and Wing), so a history should be short for each key: it is checked in a few thousand steps
then."""

import math
from collections import defaultdict
from dataclasses import dataclass

GONE = None
UNKNOWN = 0  # a CAS that no reply has told

WRITES = {"set", "add", "replace", "append", "cas", "incr", "delete", "touch", "flush"}
REMOVERS = {"delete", "flush"}


@dataclass
class Operation:
    """`reply`: "ok", "not stored", "exists", "not found"; None: unknown, and `returned` is infinite.
    `value`: what is written, or what a read or an increment returned. `cas`: what the reply said. `old`:
    the CAS that `cas` compares."""

    kind: str  # one of WRITES, or "fresh" or "read"
    host: int
    invoked: float
    returned: float = math.inf
    reply: str | None = None
    value: str | None = None
    cas: int = UNKNOWN
    old: int = UNKNOWN


def same_cas(state, cas):
    return cas == UNKNOWN or state[1] == UNKNOWN or state[1] == cas


def step(state, op):
    """The state after the operation, in a tuple; an empty one: the reply cannot be explained. `state` is
    GONE or (value, cas)."""
    kind, reply = op.kind, op.reply
    there = state is not GONE
    written = (op.value, op.cas)
    if kind == "set":
        return (written,)
    if kind == "flush":
        return (GONE,)
    if kind == "delete":
        return () if reply == ("not found" if there else "ok") else (GONE,)
    if kind == "add":
        if reply is None:
            return (state if there else written,)
        return ((state if there else written),) if there == (reply == "not stored") else ()
    if kind in ("fresh", "read"):
        if not there:
            return (GONE,) if reply == "not found" else ()
        fits = reply == "ok" and state[0] == op.value and same_cas(state, op.cas)
        return ((op.value, op.cas or state[1]),) if fits else ()
    if not there:
        failure = "not stored" if kind in ("replace", "append") else "not found"
        return (GONE,) if reply in (None, failure) else ()
    if kind == "cas":
        if reply == "exists":
            return (state,) if state[1] == UNKNOWN or state[1] != op.old else ()
        if reply == "ok":
            return (written,) if same_cas(state, op.old) else ()
        if reply == "not found":
            return ()
        return (written, state) if state[1] == UNKNOWN else (written,) if state[1] == op.old else (state,)
    if reply not in (None, "ok"):
        return ()
    if kind == "replace":
        return (written,)
    if kind == "append":
        return ((state[0] + op.value, op.cas),)
    if kind == "incr":
        number = str(int(state[0]) + 1)
        return ((number, op.cas),) if reply is None or number == op.value else ()
    assert kind == "touch"
    return ((state[0], op.cas),) if reply is None or state[0] == op.value else ()


class Undecided(Exception):
    """The search took too many steps."""


def find_order(operations, steps=100_000, stuck=None):
    """The operations in an order that explains them; those that had no effect are missing. None: there is
    no order; to the list `stuck` are added the longest order that explains what it has, and the first
    operation that no order explains."""
    ops = sorted((op for op in operations if op.kind != "read"), key=lambda op: op.invoked)
    known = [i for i, op in enumerate(ops) if op.reply is not None]
    lost = [i for i, op in enumerate(ops) if op.reply is None]
    all_known = sum(1 << i for i in known)

    def candidates(done, first):
        """Which may come next: no other has ended before they began. Those with a reply first, by their
        numbers."""
        horizon = math.inf
        found = []
        for at in range(first, len(known)):
            op = ops[known[at]]
            if op.invoked >= horizon:
                break
            if not done >> known[at] & 1:
                found.append(known[at])
                horizon = min(horizon, op.returned)
        found = [i for i in found if ops[i].invoked < horizon]
        found.sort(key=lambda i: (ops[i].cas or math.inf, ops[i].returned))
        return found + [i for i in lost if not done >> i & 1 and ops[i].invoked < horizon]

    def advance(done, first):
        while first < len(known) and done >> known[first] & 1:
            first += 1
        return first

    seen = defaultdict(list)
    tried = 0
    farthest, longest = -1, []
    path = []
    stack = [(0, GONE, 0, iter([(i, state) for i in candidates(0, 0) for state in step(GONE, ops[i])]))]
    while stack:
        done, state, first, branches = stack[-1]
        if done & all_known == all_known:
            return [ops[i] for i in path]
        for i, after in branches:
            now = done | 1 << i
            if after == state and ops[i].reply is None:
                continue  # without an effect: as if it were not there
            # Who has used fewer of the unknown ones can do all that others can.
            used = now & ~all_known
            before = seen[now & all_known, after]
            if any(fewer & used == fewer for fewer in before):
                continue
            before.append(used)
            tried += 1
            if tried > steps:
                raise Undecided(f"{len(known)} operations and {len(lost)} unknown ones")
            at = advance(now, first)
            path.append(i)
            if at > farthest:
                farthest, longest = at, list(path)
            stack.append(
                (now, after, at, iter([(j, s) for j in candidates(now, at) for s in step(after, ops[j])]))
            )
            break
        else:
            stack.pop()
            if path:
                path.pop()
    if stuck is not None:
        stuck += [[ops[i] for i in longest], ops[known[max(farthest, 0)]]]
    return None


def replaces(op):
    return op.kind in WRITES and op.kind != "touch" and op.reply == "ok"


def staleness(operations):
    """For each local read: by how many seconds, at least, it returned too old a state, for replacements
    that its own host and that another host has acknowledged. Pairs (read, own, other)."""
    writes = [op for op in operations if replaces(op)]
    removers = [op for op in operations if op.kind in REMOVERS and op.reply != "not found"]
    born = {}
    for op in operations:
        if (
            op.kind in WRITES
            and op.kind not in REMOVERS
            and op.kind != "touch"
            and op.reply in ("ok", None)
            and op.value
        ):
            born.setdefault(op.value, op)
    told = []
    for read in operations:
        if read.kind != "read" or read.reply is None:
            continue
        own = other = 0.0
        if read.reply == "ok":
            last = (
                read.value if "+" not in read.value else "+" + read.value.rsplit("+")[-1]
            )  # the last that was appended
            source = born.get(last)
            later = [op for op in writes if source is not None and op.invoked > source.returned]
        else:
            later = [
                op
                for op in writes
                if op.kind not in REMOVERS
                and not any(
                    not gone.returned < op.invoked and not gone.invoked > read.returned for gone in removers
                )
            ]
        for op in later:
            age = read.invoked - op.returned
            if op.host == read.host:
                own = max(own, age)
            else:
                other = max(other, age)
        told.append((read, own, other))
    return told


def find_stale(operations, bound):
    """The reads that are older than `bound` seconds, or do not see what their own host had acknowledged.
    `bound` may be a function of the read."""
    limit = bound if callable(bound) else lambda read: bound
    return [
        (read, own, other) for read, own, other in staleness(operations) if own > 0 or other > limit(read)
    ]


def find_disorder(operations):
    """Pairs whose numbers do not go with time: a write that was acknowledged before another began has the
    lower one; and of two reads on a host, the later one does not see the older item. What is not there has
    no number."""
    wrong = []
    for ops in (
        [op for op in operations if op.kind in WRITES | {"fresh"} and op.reply == "ok" and op.cas != UNKNOWN],
        *(
            [op for op in operations if op.kind in ("read", "fresh") and op.reply == "ok" and op.host == host]
            for host in {op.host for op in operations}
        ),
    ):
        highest = None
        ended = sorted(ops, key=lambda op: op.returned)
        at = 0
        for op in sorted(ops, key=lambda op: op.invoked):
            while at < len(ended) and ended[at].returned < op.invoked:
                if highest is None or ended[at].cas > highest.cas:
                    highest = ended[at]
                at += 1
            if highest is not None and (
                op.cas < highest.cas or (op.cas == highest.cas and op.kind in WRITES)
            ):
                wrong.append((highest, op))
    return wrong


def find_invented(operations):
    """Reads of values that nobody had begun to write."""
    written = {}
    for op in operations:
        if op.kind in WRITES and op.value is not None and op.kind not in ("touch", "append"):
            written[op.value] = min(op.invoked, written.get(op.value, math.inf))
    wrong = []
    for op in operations:
        if op.kind == "read" and op.reply == "ok":
            base = op.value.split("+")[0]
            if written.get(op.value, written.get(base, math.inf)) > op.returned and not counted(
                op, operations
            ):
                wrong.append(op)
    return wrong


def counted(read, operations):
    """Whether the value may be that of increments whose replies are unknown."""
    if not read.value.isdigit():
        return False
    lost = sum(
        1 for op in operations if op.kind == "incr" and op.reply is None and op.invoked < read.returned
    )
    near = {str(int(read.value) - i) for i in range(1, lost + 1)}
    return any(op.value in near for op in operations if op.kind in WRITES and op.invoked < read.returned)
