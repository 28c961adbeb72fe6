"""Sessions that move from their earlier names to their digests, in every order of requests.

Saves, a logout and loads of one session run in threads. Their pool is a model in this file, which lets
one request through at a time, in an order that a seed decides. Some processes die on the way.
"""

import itertools
import random
import threading

import pytest
from stayd.django.session_items import RESERVATION, KeepingSessionItems, MovingSessionItems
from stayd.django.session_names import digest_name, earlier_name

KEY = "k" * 32
NAME, EARLIER = digest_name(KEY), earlier_name(KEY)
AGE_S = 1000


class Killed(BaseException):
    """A process ends here."""


class Pool:
    """Does what Client does, on a dict. Each request first passes `gate`."""

    url = "the test's pool"

    def __init__(self, gate=lambda: None):
        self.items = {}
        self.gate = gate
        self._numbers = itertools.count(1)

    def put(self, name, value):
        self.items[name] = (value, next(self._numbers))
        return True

    def gets(self, name):
        self.gate()
        return self.items.get(name, (None, None))

    def gets_confirmed(self, name, beginning=None):
        return self.gets(name)

    def get_many(self, names):
        return {name: value for name in names if (value := self.gets(name)[0]) is not None}

    def add(self, name, value, age_s):
        self.gate()
        return name not in self.items and self.put(name, value)

    def replace(self, name, value, age_s):
        self.gate()
        return name in self.items and self.put(name, value)

    def cas(self, name, value, number, age_s):
        self.gate()
        if name not in self.items:
            return None
        return self.items[name][1] == number and self.put(name, value)

    def touch(self, name, age_s):
        self.gate()
        return name in self.items

    def delete(self, name):
        self.gate()
        return self.items.pop(name, None) is not None

    @property
    def session(self):
        """The value that a load would find now."""
        for name in (NAME, EARLIER):
            value, _ = self.items.get(name, (None, None))
            if value not in (None, RESERVATION):
                return value
        return None


class Process:
    """A thread that runs `action` and stops before each of its requests until `step` is called."""

    def __init__(self, pool, action):
        self._pool, self._action = pool, action
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._dies = False
        self.is_over, self.result = False, None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._stopped.acquire()

    def gate(self):
        self._stopped.release()
        self._go.acquire()
        if self._dies:
            raise Killed

    def step(self):
        """Lets the next request through, and waits until the following request arrives."""
        self._pool.gate = self.gate
        self._go.release()
        self._stopped.acquire()
        if self.is_over:
            self._thread.join()

    def kill(self):
        self._dies = True
        self.step()

    def _run(self):
        self._stopped.release()
        self._go.acquire()
        try:
            self.result = self._action()
        except Killed:
            self.result = "killed"
        self.is_over = True
        self._stopped.release()


def run(seed, actions, check, may_die=()):
    """Runs the actions (functions of a MovingSessionItems) in an order that the seed decides, and calls
    `check(pool, processes)` after each request. Some of the processes in `may_die` die."""
    choose = random.Random(seed)
    pool = Pool()
    pool.put(EARLIER, b"first")
    items, keeping = MovingSessionItems(pool), KeepingSessionItems(pool)
    processes = {
        name: Process(pool, lambda a=a, i=keeping if name in KEEP else items: a(i))
        for name, a in actions.items()
    }
    running = dict(processes)
    favoured = None
    while running:
        # One process may run for many steps, or the processes may take turns.
        if favoured not in running or choose.random() < 0.4:
            favoured = choose.choice(sorted(running))
        process = running[favoured]
        if favoured in may_die and choose.random() < 0.08:
            process.kill()
        else:
            process.step()
        if process.is_over:
            del running[favoured]
        check(pool, processes)
    return pool, processes


def save(value, loads=True):
    """A request that loads the session and saves it."""

    def action(items):
        found = items.find(KEY) if loads else None
        if loads and found is None:
            return "nobody"
        return items.save(KEY, value, AGE_S, found)

    return action


SAVES = {
    "one": save(b"one"), "two": save(b"two"), "three": save(b"three", loads=False),
    "four": save(b"four"), "five": save(b"five"), "six": save(b"six", loads=False),
}
KEEP = ("five", "six")
"""The processes that keep earlier names. In the first half of a rolling update, all processes do."""


@pytest.mark.parametrize("first", range(0, 1000, 250))
def test_what_was_logged_out_never_comes_back(first):
    def check(pool, processes):
        if processes["logout"].is_over:
            assert pool.session is None

    actions = {**SAVES, "logout": lambda items: items.delete(KEY)}
    for seed in range(first, first + 250):
        run(seed, actions, check, may_die=SAVES)


@pytest.mark.parametrize("first", range(0, 750, 250))
def test_a_session_that_moves_is_there_at_every_moment(first):
    def check(pool, processes):
        assert pool.session is not None

    loads = {name: lambda items: items.find(KEY) is not None for name in ("load", "again")}
    for seed in range(first, first + 250):
        dies = ("two", "four") if seed % 2 else ()
        pool, processes = run(seed, {**SAVES, **loads}, check, may_die=dies)
        for name, process in processes.items():
            assert process.result is True or name in dies
        if not dies:
            assert pool.session.decode() in SAVES
            assert set(pool.items) == {NAME}


def test_the_schedules_reach_what_they_are_for():
    """If a move does not look at the earlier name again, a session comes back, and some schedule finds
    that."""

    class Careless(Pool):
        def touch(self, name, age_s):
            return True

    returned = 0
    original = globals()["Pool"]
    globals()["Pool"] = Careless
    try:
        for seed in range(300):
            pool, _ = run(
                seed, {**SAVES, "logout": lambda items: items.delete(KEY)}, lambda *_: None
            )
            returned += pool.session is not None
    finally:
        globals()["Pool"] = original
    assert returned > 0


def test_a_pool_that_is_full_keeps_the_session_under_its_earlier_name():
    from stayd.errors import OutOfMemory
    from stayd.packing import pack

    class Full(Pool):
        def add(self, *_):
            raise OutOfMemory("full")

    pool = Full()
    pool.put(EARLIER, b"{}")
    items = MovingSessionItems(pool)
    data = b'{"_auth_user_backend":"django.contrib.auth.backends.ModelBackend"}'
    assert pack(data) != data
    assert items.save(KEY, pack(data), AGE_S, items.find(KEY)) is True
    assert set(pool.items) == {EARLIER} and pool.session == data
