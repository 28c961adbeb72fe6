"""Two hosts that write the same keys at once."""

import threading
from concurrent.futures import ThreadPoolExecutor

from support.raw import wait_until
from writers import read


def on_all(hosts, function):
    with ThreadPoolExecutor(len(hosts)) as pool:
        return list(pool.map(function, hosts))


def test_of_two_adds_one_wins(hosts):
    pair = [hosts.host(), hosts.host()]
    keys = [f"k{i}" for i in range(150)]

    def add(host):
        replies = []
        with host.connect("sessions") as raw:
            for key in keys:
                name = str(host.pid)
                raw.send(f"add {key} 0 0 {len(name)}\r\n{name}\r\n".encode())
                replies.append(raw.read_line())
        return replies

    replies = on_all(pair, add)
    for i, key in enumerate(keys):
        assert sorted(reply[i] for reply in replies) == [b"NOT_STORED", b"STORED"], key
        winner = next(str(host.pid) for host, mine in zip(pair, replies) if mine[i] == b"STORED")
        for host in pair:
            wait_until(
                lambda host=host, key=key: read(host, key) == winner, what="the winner's value"
            )


def test_no_increment_is_lost(hosts):
    trio = [hosts.host() for _ in range(3)]
    with trio[0].connect("sessions") as raw:
        assert raw.ask(b"set n 0 0 1\r\n0\r\n") == b"STORED"
    for host in trio:
        wait_until(lambda host=host: read(host, "n") == "0", what="n")
    times = 60

    def count(host):
        with host.connect("sessions", timeout=30) as raw:
            return [int(raw.ask(b"incr n 1\r\n")) for _ in range(times)]

    results = on_all(trio, count)
    assert sorted(sum(results, [])) == list(range(1, 3 * times + 1))
    for host in trio:
        wait_until(lambda host=host: read(host, "n").strip() == str(3 * times), what="the sum")


def test_a_value_that_was_deleted_elsewhere_is_not_brought_back(hosts):
    """A save with cas on one host, a logout on the other: afterwards, the session is gone, or was
    saved first."""
    first, second = hosts.host(), hosts.host()
    with first.connect("sessions") as one, second.connect("sessions") as two:
        for i in range(60):
            key = f"k{i}".encode()
            assert one.ask(b"set " + key + b" 0 0 1\r\na\r\n") == b"STORED"
            one.send(b"gets " + key + b"\r\n")
            cas = one.read_until(b"END\r\n").split()[4]
            two.send(b"delete " + key + b"\r\n")
            one.send(b"cas " + key + b" 0 0 1 " + cas + b"\r\nb\r\n")
            assert two.read_line() == b"DELETED"
            assert one.read_line() in (b"STORED", b"EXISTS", b"NOT_FOUND")
            assert two.get(key) is None
            wait_until(lambda key=key: one.get(key) is None, what="its end")
            assert two.get(key) is None


def test_no_change_carries_an_item_across_a_flush(hosts):
    """One host counts, another flushes: after a flush the count begins anew."""
    counter, flusher = hosts.host(), hosts.host()
    done = [0]
    stopping = threading.Event()

    def count():
        with counter.connect("sessions", timeout=30) as raw:
            while not stopping.is_set():
                if raw.ask(b"incr n 1\r\n") == b"NOT_FOUND":
                    raw.ask(b"add n 0 0 1\r\n0\r\n")
                else:
                    done[0] += 1

    thread = threading.Thread(target=count)
    thread.start()
    try:
        with flusher.connect("sessions", timeout=30) as raw, counter.connect("sessions") as reader:
            for _ in range(25):
                wait_until(
                    lambda: (reader.get(b"n") or b"0").strip() not in (b"0", b"1"), 30, "a count"
                )
                before = done[0]
                assert raw.ask(b"flush_all\r\n") == b"OK"
                wait_until(
                    lambda: int(reader.get(b"n") or 0) <= done[0] - before + 1, 10, "a new count"
                )
    finally:
        stopping.set()
        thread.join(40)
