"""Time from the start of a daemon to its first correct answer, with a million sessions: after it
was killed, against Redis, and after a clean stop; and after a clean stop with twenty million items.

The clock starts just before the process is made, and stops when a `get` of a session that was
stored before has arrived completely. Only one of the two servers runs at a time. When the daemons are
killed, their files are still in the system's page cache. Rows with "page cache empty" begin without the
page cache, also for programs and libraries, as after a reboot.
"""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from report import Result, Row

KEY_BYTES = 33
VALUE_BYTES = 280
MEMORY_MB = 512
FOURTEEN_DAYS_S = 14 * 86400
CHECKED_READS = 20_000
KNOWN_KEY = "known".ljust(KEY_BYTES, "0")
KNOWN_VALUE = "v" * VALUE_BYTES
ANSWER_DEADLINE_S = 120
POLL_S = 0.0005
DROP_CACHES = Path("/proc/sys/vm/drop_caches")
KILLED = "killed, against Redis"
KILLED_REWRITTEN = "killed, against Redis with its file just rewritten"
STOPPED = "stopped cleanly"
STOPPED_MANY = "stopped cleanly, twenty times the items"
KILLED_COLD = "killed, against Redis with its file just rewritten, page cache empty"
STOPPED_COLD = "stopped cleanly, page cache empty but for the index"
ROWS = (KILLED, KILLED_REWRITTEN, STOPPED, STOPPED_MANY, KILLED_COLD, STOPPED_COLD)
MANY = 20
MANY_VALUE_BYTES = 20
MANY_ITEM_BYTES = 96  # of memory, with its share of what must stay free


class Known:
    """How to store the known session in a server, and to ask for it. Bytes on the wire."""

    def __init__(self, store, stored, ask, answer):
        self.store, self.stored = store.encode(), stored.encode()
        self.ask, self.answer = ask.encode(), answer.encode()


KNOWN = {
    "stayd": Known(
        f"set {KNOWN_KEY} 0 {FOURTEEN_DAYS_S} {VALUE_BYTES}\r\n{KNOWN_VALUE}\r\n",
        "STORED\r\n",
        f"get {KNOWN_KEY}\r\n",
        f"VALUE {KNOWN_KEY} 0 {VALUE_BYTES}\r\n{KNOWN_VALUE}\r\nEND\r\n",
    ),
    "redis": Known(
        f"SET {KNOWN_KEY} {KNOWN_VALUE} EX {FOURTEEN_DAYS_S}\r\n",
        "+OK\r\n",
        f"GET {KNOWN_KEY}\r\n",
        f"${VALUE_BYTES}\r\n{KNOWN_VALUE}\r\n",
    ),
}


def _connect(daemon):
    # Connects from another address than the server's: a connection between two ports of one address can
    # come about without a server, when the system picks the server's port for the client.
    return socket.create_connection(
        ("127.0.0.1", daemon.port), timeout=ANSWER_DEADLINE_S, source_address=("127.0.0.2", 0)
    )


def _exchange(connection, request, reply):
    """Sends a request; returns what comes back, as much as `reply` has or one line of an error."""
    connection.sendall(request)
    received = b""
    while len(received) < len(reply) and not (received[:1] == b"-" and received[-1:] == b"\n"):
        more = connection.recv(65536)
        if not more:
            raise ConnectionError("the connection was closed")
        received += more
    return received


def _store_known(daemon):
    known = KNOWN[daemon.name]
    with _connect(daemon) as connection:
        received = _exchange(connection, known.store, known.stored)
    if received != known.stored:
        raise RuntimeError(f"{daemon.name} did not store a session: {received!r}")


def _ask_until_answered(connection, known):
    while True:
        received = _exchange(connection, known.ask, known.answer)
        if received == known.answer:
            return
        if not received.startswith(b"-LOADING "):
            raise RuntimeError(f"wrong answer after a restart: {received!r}")
        time.sleep(POLL_S)


def _first_answer_ms(daemon):
    """Starts the daemon; milliseconds until it has given its first correct answer."""
    known = KNOWN[daemon.name]
    deadline = time.monotonic() + ANSWER_DEADLINE_S
    began = time.perf_counter()
    daemon.spawn()
    while True:
        try:
            with _connect(daemon) as connection:
                _ask_until_answered(connection, known)
                return 1000 * (time.perf_counter() - began)
        except OSError as error:
            daemon.fail_unless_starting(deadline, error)
        time.sleep(POLL_S)


def _drop_caches():
    """Empties the page cache; None, or why that is not possible."""
    os.sync()
    try:
        DROP_CACHES.write_text("3")
    except OSError as error:
        return f"cold starts could not be measured: {DROP_CACHES}: {error.strerror}"
    return None


class Restarts:
    """Starts daemons again and again, and checks each time that the sessions are all there."""

    def __init__(self, bench, sessions, value_bytes=VALUE_BYTES):
        self._bench = bench
        self._sessions = sessions
        self._workload = {"keys": sessions, "key_size": KEY_BYTES, "value": value_bytes}

    def fill(self, daemon):
        """Stores the sessions in a daemon that runs."""
        self._bench.load(daemon, preload=True, pipeline=64, ttl=FOURTEEN_DAYS_S, **self._workload)
        _store_known(daemon)

    def measure(self, daemon):
        """Starts it, checks what it serves; milliseconds to its first answer. It runs on."""
        first_ms = _first_answer_ms(daemon)
        if daemon.item_count() != self._sessions + 1:
            raise RuntimeError(
                f"{daemon.name} has {daemon.item_count():,} of {self._sessions + 1:,} sessions "
                f"after a restart"
            )
        found = self._bench.load(
            daemon, operations=CHECKED_READS, pipeline=32, get=100, **self._workload
        )
        if found["misses"]:
            raise RuntimeError(f"{daemon.name} lost sessions in a restart")
        return first_ms

    def measure_killed(self, daemon):
        """As measure; it is killed again afterwards."""
        first_ms = self.measure(daemon)
        daemon.kill()
        return first_ms

    def compare(self, stayd, redis, rounds, what, before=lambda: None):
        """Measures both in turn; returns two lists of milliseconds."""
        times = [], []
        for number in range(rounds):
            for daemon, measured in zip((stayd, redis), times):
                self._bench.progress(f"restart: {what}, {daemon.name}, {number + 1} of {rounds}")
                before()
                measured.append(self.measure_killed(daemon))
        return times

    def clean(self, stayd, rounds, before=lambda: None):
        """Milliseconds to the first answer after clean stops, and seconds that the stops took."""
        times, stops = [], []
        self.measure(stayd)
        for number in range(rounds):
            self._bench.progress(f"restart: clean stop, {number + 1} of {rounds}")
            began = time.perf_counter()
            stayd.terminate()
            stops.append(time.perf_counter() - began)
            before()
            said_before = len(stayd.log())
            times.append(self.measure(stayd))
            if "as the last stop left them" not in stayd.log()[said_before:]:
                raise RuntimeError(f"stayd did not take its index as it lay:\n{stayd.log()}")
        stayd.kill()
        return times, stops


def _file_state(redis):
    found = redis.append_only_file()
    base, whole = int(found["aof_base_size"]), int(found["aof_current_size"])
    return f"{whole / 2**20:,.0f} MB; the last rewrite wrote {base / 2**20:,.0f} MB of that"


def _recovery_line(stayd):
    lines = [line for line in stayd.log().splitlines() if " recovered " in line]
    return lines[-1].partition("recovered ")[2]


def _file_system(folder):
    command = ["df", "--output=fstype", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.split()[-1]


def _add_killed(restarts, result, stayd, redis, rounds):
    """Rows of both after SIGKILL: with Redis's file as it came about, then just rewritten."""
    times = restarts.compare(stayd, redis, rounds, "killed")
    result.rows.append(Row(KILLED, *times, target=0.12))
    result.notes.append(f"stayd's log, last of these: recovered {_recovery_line(stayd)}")
    redis.start()
    redis.rewrite()
    result.notes.append(f"Redis's file just rewritten: {_file_state(redis)}")
    redis.kill()
    times = restarts.compare(stayd, redis, rounds, "killed, just rewritten")
    result.rows.append(Row(KILLED_REWRITTEN, *times, target=0.12))


def _add_clean(restarts, result, stayd, rounds):
    """A row of stayd after a clean stop."""
    times, stops = restarts.clean(stayd, rounds)
    result.rows.append(Row(STOPPED, times, None, target=30))
    result.notes.append(f"to stop cleanly took {1000 * max(stops):,.0f} ms at most")


def _memory_available_mb():
    text = Path("/proc/meminfo").read_text()
    return int(text.partition("\nMemAvailable:")[2].split()[0]) // 1024


def _add_many(bench, result, items, rounds):
    """The same with many small items, where there is room for them."""
    memory_mb = 64 + items * MANY_ITEM_BYTES // 2**20
    free_mb = min(_memory_available_mb(), shutil.disk_usage(bench.data).free // 2**20)
    if free_mb < 2 * memory_mb:
        result.notes.append(f"no room for {items:,} items: {free_mb:,} MB of memory or disk are free")
        return
    restarts = Restarts(bench, items, MANY_VALUE_BYTES)
    with bench.persistent(memory_mb) as stayd:
        bench.progress(f"restart: filling stayd with {items:,} items")
        restarts.fill(stayd)
        stayd.kill()
        times, stops = restarts.clean(stayd, rounds)
    result.rows.append(Row(STOPPED_MANY, times, None, target=30))
    result.notes.append(
        f"twenty times: {items:,} items of {MANY_VALUE_BYTES} bytes; to stop cleanly took "
        f"{1000 * max(stops):,.0f} ms at most"
    )


def _add_cold(restarts, result, stayd, redis, rounds):
    """The same without a page cache, where the system lets us empty it."""
    impossible = _drop_caches()
    if impossible is not None:
        result.notes.append(impossible)
        return
    times = restarts.compare(stayd, redis, rounds, "killed, cold", _drop_caches)
    result.rows.append(Row(KILLED_COLD, *times))
    result.notes.append(f"stayd's log, cold: recovered {_recovery_line(stayd)}")
    times, _ = restarts.clean(stayd, rounds, _drop_caches)
    result.rows.append(Row(STOPPED_COLD, times, None))


def run(bench):
    """Returns milliseconds."""
    sessions, rounds, cold_rounds = bench.pick((1_000_000, 5, 3), (300_000, 2, 1), (5_000, 1, 1))
    restarts = Restarts(bench, sessions)
    result = Result(
        f"From start to first correct answer, {sessions:,} sessions of {VALUE_BYTES} bytes",
        "ms: median, least..most of the rounds",
        peer_name="redis",
    )
    with bench.persistent(MEMORY_MB) as stayd, bench.redis() as redis:
        for daemon in (stayd, redis):
            bench.progress(f"restart: filling {daemon.name}")
            restarts.fill(daemon)
        redis.wait_for_rewrite()
        result.notes.append(
            f"Redis's file after the rewrites that Redis began by itself: {_file_state(redis)}"
        )
        stayd.kill()
        redis.kill()
        _add_killed(restarts, result, stayd, redis, rounds)
        _add_clean(restarts, result, stayd, rounds)
        _add_many(bench, result, MANY * sessions, rounds)
        _add_cold(restarts, result, stayd, redis, cold_rounds)
    result.notes.append(f"the files lie on {_file_system(bench.data)}, the index in memory")
    return result
