"""The checker (support/linear.py) against histories whose judgement is known. No server is needed."""

import itertools
import math
import random

import pytest

from support import linear
from support.linear import GONE, Operation, find_disorder, find_invented, find_order, find_stale


def op(kind, invoked, returned, reply="ok", value=None, cas=0, old=0, host=0):
    return Operation(kind, host, invoked, math.inf if reply is None else returned, reply, value, cas, old)


GOOD = {
    "one after the other": [
        op("set", 0, 1, value="a", cas=1),
        op("fresh", 2, 3, value="a", cas=1),
        op("delete", 4, 5),
        op("fresh", 6, 7, "not found"),
    ],
    "either of two at once": [
        op("set", 0, 9, value="a", cas=2),
        op("set", 0, 9, value="b", cas=1),
        op("fresh", 10, 11, value="a"),
    ],
    "one of two adds": [op("add", 0, 5, value="a", cas=1), op("add", 1, 5, "not stored", value="b")],
    "a read of a write on its way": [
        op("set", 0, 9, value="a"),
        op("fresh", 1, 2, value="a"),
        op("fresh", 3, 4, value="a"),
    ],
    "a lost write that came late": [
        op("set", 0, 1, value="a", cas=1),
        op("set", 2, 0, None, value="b"),
        op("fresh", 3, 4, value="a"),
        op("fresh", 50, 51, value="b"),
    ],
    "a lost write that never came": [
        op("set", 0, 1, value="a"),
        op("delete", 2, 0, None),
        op("fresh", 3, 4, value="a"),
        op("fresh", 90, 91, value="a"),
    ],
    "a lost delete between": [
        op("set", 0, 1, value="a"),
        op("delete", 2, 0, None),
        op("add", 3, 4, value="b"),
    ],
    "cas": [
        op("set", 0, 1, value="a", cas=7),
        op("cas", 2, 3, value="b", cas=8, old=7),
        op("cas", 4, 5, "exists", value="c", old=7),
        op("delete", 6, 7),
        op("cas", 8, 9, "not found", value="d", old=8),
    ],
    "increments": [
        op("set", 0, 1, value="5"),
        op("incr", 2, 9, value="7"),
        op("incr", 2, 9, value="6"),
        op("fresh", 10, 11, value="7"),
    ],
    "a lost increment": [
        op("set", 0, 1, value="5"),
        op("incr", 2, 0, None),
        op("fresh", 3, 4, value="5"),
        op("incr", 5, 6, value="7"),
    ],
    "appends": [
        op("set", 0, 1, value="a"),
        op("append", 2, 3, value="+1"),
        op("touch", 4, 5, value="a+1", cas=9),
        op("replace", 6, 7, value="b"),
        op("fresh", 8, 9, value="b"),
    ],
    "a flush": [
        op("set", 0, 1, value="a"),
        op("flush", 2, 9),
        op("fresh", 3, 4, value="a"),
        op("fresh", 5, 6, "not found"),
        op("append", 7, 8, "not stored", value="+x"),
    ],
}

BAD = {
    "an old value": [op("set", 0, 1, value="a"), op("set", 2, 3, value="b"), op("fresh", 4, 5, value="a")],
    "what was acknowledged is lost": [op("set", 0, 1, value="a"), op("fresh", 2, 3, "not found")],
    "what was deleted is back": [
        op("set", 0, 1, value="a"),
        op("delete", 2, 3),
        op("fresh", 4, 5, "not found"),
        op("fresh", 6, 7, value="a"),
    ],
    "two adds win": [op("add", 0, 5, value="a"), op("add", 1, 5, value="b")],
    "no add wins": [op("add", 0, 5, "not stored", value="a"), op("add", 1, 5, "not stored", value="b")],
    "an add fails after a delete": [
        op("set", 0, 1, value="a"),
        op("delete", 2, 3),
        op("add", 4, 5, "not stored", value="b"),
    ],
    "the order turns": [
        op("set", 0, 9, value="a"),
        op("set", 0, 9, value="b"),
        op("fresh", 10, 11, value="a"),
        op("fresh", 12, 13, value="b"),
    ],
    "a lost increment that was acknowledged": [
        op("set", 0, 1, value="5"),
        op("incr", 2, 9, value="6"),
        op("incr", 2, 9, value="6"),
    ],
    "a lost write comes twice": [
        op("set", 0, 0, None, value="a"),
        op("fresh", 1, 2, value="a"),
        op("delete", 3, 4),
        op("fresh", 5, 6, value="a"),
    ],
    "a lost write before it began": [op("fresh", 0, 1, value="a"), op("set", 2, 0, None, value="a")],
    "cas with an old number": [
        op("set", 0, 1, value="a", cas=1),
        op("set", 2, 3, value="b", cas=2),
        op("cas", 4, 5, value="c", cas=3, old=1),
    ],
    "cas fails with the right number": [
        op("set", 0, 1, value="a", cas=1),
        op("cas", 2, 3, "exists", value="c", old=1),
    ],
    "a delete finds nothing": [op("set", 0, 1, value="a"), op("delete", 2, 3, "not found")],
    "a touch misses": [op("set", 0, 1, value="a"), op("touch", 2, 3, "not found")],
    "a flush that ends nothing": [
        op("set", 0, 1, value="a"),
        op("flush", 2, 3),
        op("fresh", 4, 5, value="a"),
    ],
    "an append is lost": [
        op("set", 0, 1, value="a"),
        op("append", 2, 3, value="+1"),
        op("append", 4, 5, value="+2"),
        op("fresh", 6, 7, value="a+2"),
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_good_histories_are_explained(name):
    assert find_order(GOOD[name]) is not None
    assert find_disorder(GOOD[name]) == [] and find_invented(GOOD[name]) == []


@pytest.mark.parametrize("name", BAD)
def test_bad_histories_are_refused(name):
    assert find_order(BAD[name]) is None


def brute(ops):
    """Whether there is an order, by trying all."""
    known = [o for o in ops if o.reply is not None]
    lost = [o for o in ops if o.reply is None]
    for count in range(len(lost) + 1):
        for some in itertools.combinations(lost, count):
            for order in itertools.permutations(known + list(some)):
                if any(
                    later.returned < earlier.invoked
                    for i, earlier in enumerate(order)
                    for later in order[i + 1 :]
                ):
                    continue
                states = {GONE}
                for o in order:
                    states = {after for state in states for after in linear.step(state, o)}
                if states:
                    return True
    return False


def invent(chance, count, clients=3, lose=0.1):
    """A linearizable history of some clients: each operation takes effect at a moment between its begin and
    its end."""
    spans = []
    for client in range(clients):
        at = chance.random()
        for _ in range(count // clients):
            begun = at
            at += chance.random() * 3
            spans.append([begun + chance.random() * (at - begun), begun, at, client])
            at += chance.random()
    state, ops, cas = GONE, [], 0
    for number, (_, begun, ended, client) in enumerate(sorted(spans)):
        kind = chance.choice(["set", "add", "cas", "delete", "touch", "incr", "fresh", "replace"])
        value = None if kind in ("delete", "touch", "incr", "fresh") else str(1000 * (number + 1))
        cas += 1
        old = chance.choice([cas - 1, state[1] if state else 3]) if kind == "cas" else 0
        made = op(kind, begun, ended, value=value, cas=cas, old=old, host=client)
        there = state is not GONE
        if kind in ("add",) and there:
            made.reply, made.cas = "not stored", 0
        elif kind == "cas" and there and state[1] != old:
            made.reply, made.cas = "exists", 0
        elif not there and kind not in ("set", "add"):
            made.reply, made.cas = ("not stored" if kind == "replace" else "not found"), 0
        elif kind == "fresh":
            made.value, made.cas = state
        elif kind == "touch":
            made.value = state[0]
        elif kind == "incr":
            made.value = str(int(state[0]) + 1)
        if made.reply == "ok" and kind != "fresh":
            state = GONE if kind == "delete" else (made.value, cas)
        if kind == "delete":
            made.cas = 0
        if chance.random() < lose and kind != "fresh":
            made.reply, made.returned, made.cas = None, math.inf, 0
            made.value = None if kind in ("incr", "touch") else made.value
        ops.append(made)
    return ops


def test_it_agrees_with_trying_all_orders():
    chance = random.Random(1)
    judged = {True: 0, False: 0}
    for _ in range(150):
        ops = invent(chance, 6, lose=0.2)
        assert find_order(ops) is not None
        victim = chance.choice(ops)
        if victim.kind == "fresh" and victim.reply == "ok":
            victim.value = chance.choice(["1000", "2000", "3000"])
        elif victim.reply is not None:
            victim.reply = chance.choice(["ok", "not found", "not stored"])
        expected = brute(ops)
        judged[expected] += 1
        assert (find_order(ops) is not None) == expected
    assert min(judged.values()) > 20


def test_it_judges_long_histories():
    chance = random.Random(2)
    for _ in range(10):
        ops = invent(chance, 300, clients=4, lose=0.02)
        assert find_order(ops) is not None
        at = max((o for o in ops if o.kind == "fresh" and o.reply == "ok"), key=lambda o: o.invoked)
        at.value = "1"
        assert find_order(ops) is None


def test_reads_that_are_too_old_are_found():
    ops = [op("set", 0, 1, value="a"), op("set", 2, 3, value="b", host=1)]
    read = op("read", 5, 5.1, value="a")
    assert find_stale(ops + [read], 3) == []
    assert find_stale(ops + [read], 1) == [(read, 0, 2)]
    own = op("read", 3.5, 4, value="a", host=1)
    assert find_stale(ops + [own], 3) == [(own, 0.5, 0)]
    at_once = op("read", 2.5, 2.6, value="a", host=1)
    assert find_stale(ops + [at_once], 0) == []


def test_misses_that_are_too_old_are_found():
    ops = [op("set", 0, 1, value="a")]
    miss = op("read", 9, 9.1, "not found", host=1)
    assert find_stale(ops + [miss], 9) == [] and find_stale(ops + [miss], 7) == [(miss, 0, 8)]
    assert find_stale(ops + [op("delete", 2, 0, None), miss], 1) == []
    assert find_stale(ops + [op("flush", 2, 3), miss], 1) == []
    assert find_stale(ops + [op("delete", 10, 11), miss], 1) == [(miss, 0, 8)]


def test_deleted_items_that_are_read_too_long_are_found():
    ops = [op("set", 0, 1, value="a"), op("append", 1.2, 1.4, value="+x"), op("delete", 2, 3)]
    read = op("read", 9, 9.1, value="a+x", host=1)
    assert find_stale(ops + [read], 5) == [(read, 0, 6)]


def test_numbers_that_do_not_go_with_time_are_found():
    assert find_disorder([op("set", 0, 1, value="a", cas=5), op("set", 2, 3, value="b", cas=4)])
    assert find_disorder([op("set", 0, 1, value="a", cas=5), op("set", 2, 3, value="b", cas=5)])
    assert find_disorder([op("read", 0, 1, value="a", cas=5), op("read", 2, 3, value="b", cas=4)])
    assert not find_disorder([op("read", 0, 1, value="a", cas=5), op("read", 2, 3, value="b", cas=4, host=1)])


def test_values_that_nobody_wrote_are_found():
    read = op("read", 5, 6, value="77")
    assert find_invented([read]) == [read]
    assert find_invented([op("set", 7, 8, value="77"), read]) == [read]
    assert find_invented([op("set", 0, 0, None, value="77"), read]) == []
    assert find_invented([op("set", 0, 1, value="76"), op("incr", 2, 0, None), read]) == []
