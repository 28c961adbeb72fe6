"""The load generator notices every wrong reply: a benchmark of a server whose replies are wrong
must fail and print no figure.

    /usr/bin/python3 -m pytest bench/test_load.py
"""

import json
import os
import socket
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

LOAD = Path(
    os.environ.get(
        "STAYD_LOAD", Path(__file__).resolve().parent.parent / "build" / "bench" / "stayd-load"
    )
)
WRONG, BROKEN_OFF = 1, 2


def answer_correctly(items, words, value):
    """A memcached of a few lines."""
    if words[0] == b"set":
        items[words[1]] = value
        return b"STORED\r\n"
    if words[1] not in items:
        return b"END\r\n"
    value = items[words[1]]
    return b"VALUE %s 0 %d\r\n%s\r\nEND\r\n" % (words[1], len(value), value)


def answer_resp_correctly(items, requests, line):
    """A Redis of a few lines."""
    words = []
    for _ in range(int(line[1:])):
        words.append(requests.read(int(requests.readline()[1:]) + 2)[:-2])
    if words[0] == b"SET":
        assert words[3:] in ([], [b"EX", b"60"])
        items[words[1]] = words[2]
        return b"+OK\r\n"
    if words[1] not in items:
        return b"$-1\r\n"
    return b"$%d\r\n%s\r\n" % (len(items[words[1]]), items[words[1]])


@contextmanager
def server(change=lambda reply: reply):
    """Serves both protocols on a free port, and changes each reply by `change` (None: closes the
    connection); yields the port."""
    items = {}

    def answer(requests, line):
        if line.startswith(b"*"):
            return answer_resp_correctly(items, requests, line)
        words = line.split()
        value = None
        if words[0] == b"set":
            value = requests.read(int(words[4]) + 2)[:-2]
        return answer_correctly(items, words, value)

    def serve(connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, suppress(OSError), connection.makefile("rb") as requests:
            for line in requests:
                reply = change(answer(requests, line))
                if reply is None:
                    return
                connection.sendall(reply)

    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = threading.Thread(target=accept)
        acceptor.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join()


def load(port, *options):
    """Runs stayd-load on few keys, so that reads hit."""
    return subprocess.run(
        [LOAD, f"--server=127.0.0.1:{port}", "--connections=2", "--keys=10", *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_server_that_answers_correctly_passes():
    with server() as port:
        done = load(port, "--preload", "--operations=500", "--get=80", "--pipeline=7")
    result = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert result["operations"] == 500
    assert result["gets"] + result["sets"] == 500
    assert result["hits"] == result["gets"] > 300
    assert result["wrong"] == result["errors"] == 0


@pytest.mark.parametrize("ttl", ["--ttl=0", "--ttl=60"])
def test_a_redis_that_answers_correctly_passes(ttl):
    with server() as port:
        done = load(port, "--resp", ttl, "--operations=500", "--get=80", "--pipeline=7", "--refill")
    result = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert 0 < result["hits"] < result["gets"]
    assert result["wrong"] == result["errors"] == 0


@pytest.mark.parametrize(
    "before, after, status",
    [
        pytest.param(b"$220\r\n", b"$220\r\n#", BROKEN_OFF, id="a byte too many"),
        pytest.param(b"$220\r\n", b"$219\r\n", BROKEN_OFF, id="a byte too few"),
        pytest.param(b"$220\r\n", b"-LOADING\r\n", BROKEN_OFF, id="a read refused"),
        pytest.param(b"+OK", b"-MISCONF", WRONG, id="a write refused"),
    ],
)
def test_a_wrong_reply_of_a_redis_fails_the_run(before, after, status):
    with server(lambda reply: reply.replace(before, after)) as port:
        done = load(port, "--resp", "--preload", "--operations=500")
    assert done.returncode == status
    assert "unexpected reply" in done.stderr


def test_a_rate_is_kept():
    with server() as port:
        done = load(port, "--rate=1000", "--pipeline=5", "--operations=500", "--get=0")
    result = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert result["operations"] == 500
    assert result["seconds"] >= 0.495  # the last of 100 batches is due 99 distances after the first


def test_what_waits_for_a_connection_counts_as_latency():
    """100 requests a second to a server that takes 50 ms for each, over two connections: the last
    ones wait behind all others."""

    def slowly(reply):
        time.sleep(0.05)
        return reply

    with server(slowly) as port:
        done = load(port, "--rate=100", "--operations=40", "--get=0")
    result = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert result["max_us"] > 500_000
    assert result["operations_per_second"] <= 40


@pytest.mark.parametrize(
    "before, after, status",
    [
        pytest.param(b"\r\nEND", b"#\nEND", WRONG, id="the value's end is not where it was said"),
        pytest.param(b" 0 220\r\n", b" 0 220\r\n#", BROKEN_OFF, id="a byte too many"),
        pytest.param(b" 0 220\r\n", b" 1 220\r\n", BROKEN_OFF, id="client flags that were not set"),
        pytest.param(b"VALUE ", b"VALUE x", BROKEN_OFF, id="another key"),
        pytest.param(b"STORED", b"SERVER_ERROR out of memory", WRONG, id="a write refused"),
        pytest.param(b"STORED", b"NOT_STORED", WRONG, id="a write not done"),
    ],
)
def test_a_wrong_reply_fails_the_run(before, after, status):
    with server(lambda reply: reply.replace(before, after)) as port:
        done = load(port, "--preload", "--operations=500")
    assert done.returncode == status
    assert "unexpected reply" in done.stderr


def test_the_value_of_another_key_fails_the_run():
    values = []

    def first_value_for_all(reply):
        head, _, rest = reply.partition(b"\r\n")
        if head.startswith(b"VALUE"):
            values.append(rest)
            return head + b"\r\n" + values[0]
        return reply

    with server(first_value_for_all) as port:
        done = load(port, "--preload", "--operations=500")
    assert done.returncode == WRONG
    assert json.loads(done.stdout)["wrong"] > 0


def test_a_server_that_closes_the_connection_ends_the_run():
    with server(lambda reply: None if reply.startswith(b"VALUE") else reply) as port:
        done = load(port, "--preload", "--operations=500")
    assert done.returncode == BROKEN_OFF
    assert "closed a connection" in done.stderr


def test_a_refused_refill_is_counted_and_is_no_error():
    refusal = b"SERVER_ERROR out of memory storing object"
    with server(lambda reply: reply.replace(b"STORED", refusal)) as port:
        done = load(port, "--operations=500", "--get=100", "--refill")
    result = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert result["errors"] == 0 < result["refused"] == result["refills"]


def test_a_miss_is_counted_and_refilled_when_asked_for():
    with server() as port:
        done = load(port, "--operations=500", "--get=100", "--refill", "--scan=50")
    result = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert result["scan_hits"] == 0
    assert result["hits"] == result["gets"] - result["misses"] > 0
    assert result["refills"] >= result["misses"] - 2  # at most those of the two last batches
