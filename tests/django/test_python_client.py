"""stayd.Client against the real daemon, and against servers that misbehave."""

import contextlib
import os
import pickle
import signal
import socket
import threading
import time

import pytest
import stayd
from pymemcache.serde import pickle_serde
from scripted import Scripted, take_request
from stayd.serde import json_serde
from support.raw import together
from support.servers import Stayd, free_port, wait_until


pytestmark = pytest.mark.each_backend


@pytest.fixture
def client(daemon):
    with stayd.Client(daemon.url("sessions")) as client:
        yield client


def test_a_value_comes_back_as_it_was_stored(client):
    value = bytes(range(256)) + b"\r\nEND\r\n"
    client.set("k", value)
    assert client.get("k") == value
    assert client.get(b"k") == value


def test_a_missing_key_gives_the_default(client):
    assert client.get("absent") is None
    assert client.get("absent", b"default") == b"default"


def test_the_unix_socket_reaches_the_same_pool(daemon, client):
    client.set("k", b"over TCP")
    with stayd.Client(daemon.unix_url("sessions")) as other:
        assert other.get("k") == b"over TCP"


def test_add_stores_only_what_is_new_and_replace_only_what_is_there(client):
    assert client.replace("k", b"0") is False
    assert client.add("k", b"1") is True
    assert client.add("k", b"2") is False
    assert client.replace("k", b"3") is True
    assert client.get("k") == b"3"


def test_cas_stores_only_over_what_was_read(client):
    client.set("k", b"1")
    value, number = client.gets("k")
    assert value == b"1"
    assert client.cas("k", b"2", number) is True
    assert client.cas("k", b"3", number) is False
    client.delete("k")
    assert client.cas("k", b"4", number) is None
    assert client.gets("k") == (None, None)


def test_delete_and_touch_say_whether_there_was_an_item(client):
    client.set("k", b"1")
    assert client.touch("k", 100) is True
    assert client.delete("k") is True
    assert client.delete("k") is False
    assert client.touch("k", 100) is False


def test_incr_counts_up_and_down_but_not_below_zero(client):
    assert client.incr("n") is None
    client.set("n", b"5")
    assert client.incr("n") == 6
    assert client.incr("n", -4) == 2
    assert client.incr("n", -4) == 0


def test_incr_of_what_is_no_number_is_refused(client):
    client.set("n", b"five")
    with pytest.raises(stayd.RequestRefused, match="non-numeric"):
        client.incr("n")
    assert client.get("n") == b"five"


def test_many_more_keys_than_fit_in_one_request_are_read_stored_and_deleted(client):
    values = {f"{number:0200}": b"%d" % number for number in range(1000)}
    assert client.set_many(values) == []
    assert client.get_many([*values, "absent"]) == values
    client.delete_many(values)
    assert client.get_many(values) == {}


def test_stats_and_version_are_text_and_numbers(client):
    client.set("k", b"1")
    stats = client.stats()
    assert stats["curr_items"] >= 1
    assert stats["version"] == client.version()


@pytest.mark.parametrize("ttl_s", [0, -1, -10**9])
def test_an_item_without_time_ends_at_once(client, ttl_s):
    client.set("k", b"1", ttl_s)
    assert client.get("k") is None


@pytest.mark.parametrize("days", [29, 30, 31, 365, 3650])
def test_a_time_of_any_length_is_a_duration(client, days):
    client.set("k", b"1", days * 86400)
    assert client.get("k") == b"1"
    assert client.touch("k", days * 86400) is True
    assert client.get("k") == b"1"


def test_an_item_is_there_until_its_time_is_over(client):
    client.set("k", b"1", 1.2)
    assert client.get("k") == b"1"
    wait_until(lambda: client.get("k") is None, what="the end of the item")


def test_a_fraction_of_a_second_is_not_taken_for_no_end(client):
    client.set("k", b"1", 0.2)
    wait_until(lambda: client.get("k") is None, what="the end of the item")


@pytest.mark.parametrize(
    "key", ["", "two words", "line\n", "nul\0", "\x7f", "k" * 251, "\u20ac" * 84, "\udc80", None, 5]
)
def test_a_key_that_the_protocol_cannot_carry_is_refused(client, key):
    for request in (
        lambda: client.get(key),
        lambda: client.get_many([key]),
        lambda: client.set(key, b"1"),
        lambda: client.delete(key),
    ):
        with pytest.raises(stayd.InvalidKey, match="1 to 250 bytes"):
            request()


def test_keys_of_250_bytes_and_of_other_scripts_are_taken(client):
    for key in ("k" * 250, "\u20ac" * 83, "\u043a\u043b\u044e\u0447"):
        client.set(key, b"1")
        assert client.get_many([key]) == {key: b"1"}


@pytest.mark.parametrize("value", ["text", 5, None, ["list"], bytearray(b"b")])
def test_a_value_that_is_not_bytes_is_refused(client, value):
    with pytest.raises(TypeError, match="must be bytes"):
        client.set("k", value)


def test_a_value_is_bytes_whatever_its_flags_say(daemon, client):
    with stayd.Client(daemon.url("sessions"), serde=pickle_serde) as other:
        other.set("k", {"a": 1})
    assert pickle.loads(client.get("k")) == {"a": 1}


def test_json_values_come_back_equal_and_a_pickle_counts_as_missing(daemon, client):
    with stayd.Client(daemon.url("sessions"), serde=json_serde) as other:
        values = {"b": b"\0", "t": "\u20ac", "i": -5, "o": {"a": [1, None, True]}, "f": 1.5}
        other.set_many(values)
        assert other.get_many(values) == values
        with stayd.Client(daemon.url("sessions"), serde=pickle_serde) as pickling:
            pickling.set("o", {"a": 1})
        assert other.get("o", "default") == "default"
        assert "o" not in other.get_many(values)


def test_flush_empties_this_pool_and_no_other(daemon, client):
    with stayd.Client(daemon.url("cache")) as cache:
        client.set("k", b"session")
        cache.set("k", b"cached")
        cache.flush()
        assert cache.get("k") is None
        assert client.get("k") == b"session"
        client.flush()
        assert client.get("k") is None


def test_a_value_above_item_max_is_refused_and_the_connection_goes_on(client):
    with pytest.raises(stayd.ValueTooLarge, match="item_max"):
        client.set("k", b"x" * (2 << 20))
    assert client.set_many({"a": b"1", "b": b"x" * (2 << 20), "c": b"3"}) == ["b"]
    assert client.get_many("ac") == {"a": b"1", "c": b"3"}


def test_a_full_pool_refuses_new_items_and_names_the_remedy(own_daemon):
    with stayd.Client(own_daemon.url("sessions")) as client:
        value = b"x" * 100_000
        client.add("first", value)
        with pytest.raises(stayd.OutOfMemory, match="Raise (its memory|`memory`)"):
            for number in range(1000):
                client.add(f"k{number}", value)
        assert client.get("first") == value
        assert client.replace("first", value) is True


def test_an_absent_daemon_is_an_error_that_names_the_url_and_the_remedy():
    port = free_port()
    with stayd.Client(f"memcached://127.0.0.1:{port}/?restart_wait=0") as client:
        with pytest.raises(stayd.ConnectionError, match=f"127.0.0.1:{port}/.*Start the (daemon|server)"):
            client.get("k")
        with pytest.raises(ConnectionError):
            client.set("k", b"1")
    with stayd.Client("unix:///nonexistent/s.sock?restart_wait=0") as client:
        with pytest.raises(stayd.ConnectionError, match="unix:///nonexistent/s.sock"):
            client.get("k")


@pytest.mark.parametrize("listener", ["url", "unix_url"])
def test_every_request_works_after_a_restart_on_the_connection_from_before(own_daemon, listener):
    """Ten connections are open and idle when the daemon is killed. No request fails because of them."""
    with stayd.Client(getattr(own_daemon, listener)("sessions")) as client:
        client.set("k", b"1")
        client.set("n", b"1")
        _, number = client.gets("k")
        for request in (
            lambda: client.get("k"),
            lambda: client.get_many(["k"]),
            lambda: client.set("k", b"2"),
            lambda: client.add("k%d" % own_daemon.pid, b"2"),
            lambda: client.replace("k", b"3"),
            lambda: client.touch("k", 100),
            lambda: client.incr("n"),
            lambda: client.delete("k"),
            lambda: client.cas("n", b"1", number) in (True, False),
            lambda: client.stats(),
        ):
            client.version()
            own_daemon.kill9()
            own_daemon.start()
            assert request() is not False


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"VALUE other 0 1\r\n1\r\nEND\r\n",
        b"VALUE k 0 x\r\n1\r\nEND\r\n",
        b"VALUE k\r\n",
        b"\r\n",
    ],
)
def test_an_answer_in_another_protocol_is_an_error_and_no_key_error(answer):
    with Scripted([answer], [b"END\r\n"]) as server:
        with stayd.Client(server.url) as client:
            with pytest.raises(stayd.RequestRefused, match="another kind of server"):
                client.get("k")
            assert client.get("k") is None


class Green(socket.socket):
    """A socket class like gevent's: it waits in its own way, and obeys only its own timeout."""

    def recv(self, *arguments):
        assert self.gettimeout() == 0.1
        return super().recv(*arguments)


@pytest.mark.parametrize("kind", [socket.socket, Green])
@pytest.mark.parametrize("request_name", ["get", "set"])
def test_no_read_and_no_write_waits_for_longer_than_its_limit(monkeypatch, kind, request_name):
    """The listener's queue accepts the connection, and nobody reads from it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(socket, "socket", kind)
        url = f"memcached://127.0.0.1:{listener.getsockname()[1]}/?timeout=0.1"
        with stayd.Client(url) as client:
            begun = time.monotonic()
            with pytest.raises(stayd.ConnectionError, match=f"'{request_name}' within 0.1 s"):
                client.get("k") if request_name == "get" else client.set("k", b"v" * (32 << 20))
            assert 0.1 <= time.monotonic() - begun < 5


@pytest.mark.parametrize("interval_s", [0.005, 0.05])
@pytest.mark.parametrize("request_name", ["get", "set"])
def test_signals_do_not_lengthen_a_wait(request_name, interval_s):
    """Python resumes a read or write that a signal interrupts; a timeout in the kernel would then start
    again. The listener's queue accepts the connection, and nobody reads what is sent."""
    ends = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"memcached://127.0.0.1:{listener.getsockname()[1]}/?timeout=0.5"
        before = signal.signal(signal.SIGALRM, lambda *_: ends.append(time.monotonic()))
        signal.setitimer(signal.ITIMER_REAL, interval_s, interval_s)
        stopper = threading.Timer(20, signal.setitimer, (signal.ITIMER_REAL, 0))
        stopper.start()
        try:
            with stayd.Client(url) as client, pytest.raises(stayd.ConnectionError, match="within"):
                begun = time.monotonic()
                client.get("k") if request_name == "get" else client.set("k", b"v" * (32 << 20))
            assert time.monotonic() - begun < 10
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            stopper.cancel()
    assert ends


def test_threads_share_one_client_without_mixing_their_answers(client):
    numbers = iter(range(100))

    def own_values():
        mine = b"%d" % next(numbers)
        for _ in range(200):
            client.set(mine, mine)
            assert client.get(mine) == mine

    together(*[own_values] * 8)


@pytest.mark.parametrize(
    "times",
    [
        {name: value}
        for name in ("timeout_s", "connect_timeout_s", "idle_timeout_s")
        for value in (0, -1, float("inf"), float("nan"), "soon")
    ]
    + [{"restart_wait_s": value} for value in (-1, float("inf"))],
    ids=str,
)
def test_a_time_that_no_url_may_have_is_refused_as_an_argument_too(times):
    with pytest.raises(ValueError, match="give seconds"):
        stayd.Client("memcached://127.0.0.1/", **times)


@pytest.mark.parametrize("url_of", [Stayd.url, Stayd.unix_url])
def test_a_daemon_with_all_its_connections_taken_is_an_outage_that_says_so(url_of):
    with Stayd(server={"max_connections": 1}) as own, own.connect("cache") as taken:
        taken.expect_in_step()
        with stayd.Client(url_of(own, "sessions")) as client:
            for request in (client.get, lambda key: client.add(key, b"v")):
                with pytest.raises(stayd.ConnectionError, match="Raise (its )?max_connections"):
                    request("k")
            taken.close()
            wait_until(lambda: _works(client), what="a free connection")


def _works(client):
    try:
        return client.get("k") is None
    except stayd.ConnectionError:
        return False


def in_child(work):
    """Forks, calls `work` in the child, and returns a function that waits for what it returned."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    return lambda: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_forked_process_opens_connections_of_its_own(daemon, client):
    client.set("k", b"1")
    assert client.get("k") == b"1"  # the native client has mapped the pool by now
    connection = daemon.connect("sessions")
    before = int(connection.stats()["total_connections"])
    assert in_child(lambda: client.set("k", b"2") is None and client.get("k") == b"2")()
    assert int(connection.stats()["total_connections"]) == before + 1
    assert client.set("k", b"1") is None
    assert int(connection.stats()["total_connections"]) == before + 1


def test_a_fork_while_a_thread_is_in_the_middle_of_a_request_stops_neither(client):
    """The child inherits the locks and the connections of a thread that does not exist in the child."""
    client.set("parent", b"parent")
    client.set("child", b"child")
    done = threading.Event()
    wrong = []

    def read_on():
        while not done.is_set():
            try:
                answer = client.get("parent")
            except stayd.Error as error:
                answer = error
            if answer != b"parent":
                wrong.append(answer)

    thread = threading.Thread(target=read_on)
    thread.start()
    try:
        for _ in range(20):
            waited = in_child(lambda: all(client.get("child") == b"child" for _ in range(50)))
            assert waited()
    finally:
        done.set()
        thread.join(10)
    assert not wrong


def test_a_daemon_that_restarts_cleanly_keeps_the_items_and_the_client(own_daemon):
    with stayd.Client(own_daemon.url("sessions")) as client:
        client.set("k", b"1")
        own_daemon.restart()
        assert client.get("k") == b"1"


def test_two_daemons_have_clients_of_their_own(daemon):
    with Stayd() as other, stayd.Client(other.url("sessions")) as there:
        with stayd.Client(daemon.url("sessions")) as here:
            here.set("k", b"here")
            assert there.get("k") is None


def test_the_client_says_what_speaks_the_protocol(daemon, backend):
    with stayd.Client(daemon.url("cache")) as client:
        assert client.backend == backend


@pytest.mark.parametrize("size", [0, 1, 4060, 4096, 9000, 3_000_000])
def test_a_value_is_read_whole_however_it_arrives(size):
    value = os.urandom(size)
    answer = b"VALUE k 0 %d 7\r\n%b\r\nEND\r\n" % (size, value)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with stayd.Client(f"memcached://127.0.0.1:{listener.getsockname()[1]}/") as client:
            got = []
            thread = threading.Thread(target=lambda: got.extend(client.gets("k") for _ in range(9)))
            thread.start()
            connection, _ = listener.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for cut in (1, 5, 15, 18, len(answer) - 8, len(answer) - 3, len(answer) - 1,
                            len(answer) // 2, len(answer)):
                    take_request(connection)
                    connection.sendall(answer[:cut])
                    time.sleep(0.002)  # the pieces may be joined on the way
                    connection.sendall(answer[cut:])
                thread.join(10)
    assert got == [(value, 7)] * 9


@pytest.mark.parametrize("ask, answer", [
    (lambda client: client.get("k"), answer) for answer in (
        b"VALUE other 0 1\r\nx\r\nEND\r\n", b"VALUE k 0 1\r\nxx\r\nEND\r\n",
        b"VALUE k 0 2\r\nx\r\nEND\r\n.",
        b"VALUE k 0 -1\r\nx\r\nEND\r\n", b"VALUE k 0 -9\r\nEND\r\n", b"VALUE k 0 x\r\nx\r\nEND\r\n",
        b"VALUE k\r\n", b"VALUE k 0 1 2 3\r\nx\r\nEND\r\n", b"END \r\n", b"ENDEND\r\n", b"\r\n",
        b"STORED\r\n", b"HTTP/1.1 400 Bad Request\r\n",
    )
] + [
    (lambda client: client.set("k", b"v"), answer) for answer in (
        b"STORED \r\n", b"END\r\n", b"\r\n", b"220 mail\r\n",
    )
])
def test_an_answer_of_no_memcached_is_an_error_and_ends_the_connection(ask, answer):
    with Scripted([answer], [b"END\r\n"]) as server, stayd.Client(server.url, timeout_s=10) as client:
        with pytest.raises(stayd.RequestRefused, match="not one of the memcached protocol"):
            ask(client)
        assert client.get("second") is None
    assert len(server.requests) == 2


@pytest.mark.parametrize("request_name, answer", [
    ("get", b"VALUE k 0 1\r\nx\r\nEND\r\nEND\r\n"), ("set", b"STORED\r\nSTORED\r\n"),
])
def test_an_answer_too_many_is_not_taken_for_the_next(request_name, answer):
    with Scripted([answer], [b"END\r\n"]) as server, stayd.Client(server.url, timeout_s=10) as client:
        with contextlib.suppress(stayd.RequestRefused):
            client.get("k") if request_name == "get" else client.set("k", b"v")
        assert client.get("second") is None
    assert len(server.requests) == 2
