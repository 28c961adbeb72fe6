"""A daemon that is down: a restart looks like a pause, and in a longer outage only one request waits."""

import contextlib
import os
import signal
import socket
import threading

import pytest
import stayd
from django.contrib.sessions.backends.base import UpdateError
from django.test.utils import override_settings
from scripted import Scripted, take_request
from stayd import availability, connections
from stayd.availability import Availability
from stayd.connection import Connection, TimedOut
from stayd.django.cache import StaydCache
from stayd.django.session_backend import SessionStore, SessionsUnreachable
from support import certificates
from support.servers import Stayd, free_port, freeze, together, wait_until


pytestmark = pytest.mark.each_backend


class Clock:
    """A clock that moves only when the test moves it."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock(monkeypatch, inside_pymemcache):
    """The clock of the client's policies."""
    clock = Clock()
    monkeypatch.setattr(availability, "monotonic", clock)
    monkeypatch.setattr(connections, "monotonic", clock)
    return clock


@pytest.fixture
def connects(monkeypatch, inside_pymemcache):
    """The connects that were tried, as a list."""
    tried = []
    connect = Connection._connect

    def counted(self):
        tried.append(self.server)
        connect(self)

    monkeypatch.setattr(Connection, "_connect", counted)
    return tried


@pytest.fixture
def long_pauses(monkeypatch):
    """Clients leave a daemon that is down alone for longer than the test takes."""
    for name in ("PAUSE_MIN_S", "PAUSE_MAX_S", "PAUSE_MAX_REFUSED_S"):
        monkeypatch.setattr(availability, name, 3600.0)


@contextlib.contextmanager
def black_hole():
    """The address of a machine that does not answer: the listener's queue is full, so Linux drops new
    connections."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(2):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield "%s:%d" % listener.getsockname()


def visitor(errors, stopped, counts):
    """One browser after another: makes sessions, loads, saves and ends them."""
    done = 0
    try:
        while not stopped.is_set():
            session = SessionStore()
            session["visits"] = 0
            session.save()
            for visit in range(5):
                session = SessionStore(session.session_key)
                assert session["visits"] == visit
                session["visits"] += 1
                session.save()
                done += 1
            session.cycle_key()
            session.delete()
            assert not session.exists(session.session_key)
    except BaseException as error:
        errors.append(error)
    counts.append(done)


@pytest.fixture(params=["TCP", "Unix", "TLS with a login"])
def restarted(request, tmp_path):
    """(a daemon to be restarted, the URL of its sessions)."""
    keys = {}
    if request.param.startswith("TLS"):
        made = certificates.make(tmp_path)
        keys = {"tls_cert": made["server.pem"], "tls_key": made["server.key"]}
        keys["auth_file"] = str(tmp_path / "users")
        users = tmp_path / "users"
        users.touch(0o600)
        users.write_text("web:secret\n")
    # On a busy machine a start takes long. The test requires only that requests wait for it.
    wait = "restart_wait=20&connect_timeout=20&timeout=20"
    with Stayd(sessions=keys) as daemon:
        url = f"{daemon.url('sessions')}?{wait}"
        if request.param == "Unix":
            url = f"{daemon.unix_url('sessions')}?{wait}"
        elif keys:
            address = daemon.address("sessions")
            url = f"memcacheds://web:secret@{address}/?{wait}&ca={made['ca.pem']}"
        yield daemon, url


@pytest.mark.parametrize("stop", ["terminate", "kill9"])
def test_a_restart_under_load_is_a_pause_and_no_error(restarted, stop):
    daemon, url = restarted
    errors, counts, stopped = [], [], threading.Event()
    with override_settings(SESSION_CACHE=url):
        threads = [
            threading.Thread(target=visitor, args=(errors, stopped, counts)) for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        try:
            watcher = stayd.Client(url)
            for _ in range(3):
                before = watcher.stats()["cmd_set"]
                wait_until(
                    lambda: errors or watcher.stats()["cmd_set"] > before + 100, what="some saves"
                )
                getattr(daemon, stop)()
                daemon.start()
        finally:
            stopped.set()
            for thread in threads:
                thread.join(60)
    assert not errors
    assert len(counts) == 6 and min(counts) > 0


@pytest.mark.usefixtures("inside_pymemcache")
def test_requests_wait_for_a_daemon_that_is_being_started():
    with Stayd() as daemon:
        with stayd.Client(daemon.url("sessions") + "?restart_wait=20") as client:
            client.set("k", b"1")
            daemon.terminate()
            answers = []
            thread = threading.Thread(target=lambda: answers.append(client.get("k")))
            thread.start()
            wait_until(lambda: client._connections.availability.outage, what="a refused connect")
            daemon.start()
            thread.join(30)
            assert answers == [b"1"]


@pytest.mark.parametrize("url", ["memcached://127.0.0.1:%d/", "unix:///nonexistent/%d.sock"])
@pytest.mark.usefixtures("inside_pymemcache")
def test_a_daemon_that_stays_away_is_waited_for_once(url, connects, long_pauses):
    with stayd.Client(url % free_port() + "?restart_wait=0.1") as client:
        with pytest.raises(stayd.ConnectionError, match="cannot be reached"):
            client.get("k")
        assert len(connects) > 2
        tried = len(connects)
        for request in (lambda: client.get("k"), lambda: client.set("k", b"1"), client.version):
            with pytest.raises(stayd.ConnectionError, match="cannot be reached"):
                request()
        assert len(connects) == tried


@pytest.mark.usefixtures("inside_pymemcache")
def test_without_a_wait_a_refused_connect_is_an_error_at_once(connects):
    with stayd.Client(f"memcached://127.0.0.1:{free_port()}/?restart_wait=0") as client:
        with pytest.raises(stayd.ConnectionError):
            client.get("k")
    assert len(connects) == 1


@pytest.mark.usefixtures("inside_pymemcache")
def test_a_dead_node_of_several_costs_one_request_its_patience(daemon, connects, long_pauses):
    with black_hole() as dead:
        options = {"ignore_exc": True, "connect_timeout": 0.3}
        cache = StaydCache([daemon.address("cache"), dead], {"OPTIONS": options})
        keys = [f"k{number}" for number in range(12)]
        nodes = [cache._client(cache._key(key, None)).address.port for key in keys]
        assert len(set(nodes)) == 2
        connects.clear()
        for key in keys:
            cache.set(key, "v")
        port = int(dead.rsplit(":", 1)[1])
        assert [node[1] for node in connects].count(port) == 1
        for key, node in zip(keys, nodes):
            assert cache.get(key) == (None if node == port else "v")


@pytest.mark.usefixtures("inside_pymemcache")
def test_many_threads_leave_a_dead_node_alone_too(connects, long_pauses):
    with black_hole() as dead:
        url = f"memcached://{dead}/?connect_timeout=0.3"
        with stayd.Client(url) as client:

            def request():
                with pytest.raises(stayd.ConnectionError):
                    client.get("k")

            together(*[request] * 8)  # all of them fail before any thread knows of another's failure
            assert client._connections.availability.outage.failures == 1
            connects.clear()
            together(*[request] * 8)
            assert connects == []


ONE, OTHER = object(), object()
"""Requests."""


def test_the_pause_doubles_to_a_bound_and_ends_with_an_answer(clock):
    node = Availability(restart_wait_s=0, probe_limit_s=7)
    pauses = []
    for _ in range(12):
        assert node.find_reason_to_fail(ONE) is None
        node.failed(clock.now_s, "no route", refused=False)
        begun_s = clock.now_s
        while node.find_reason_to_fail(ONE) == "no route":
            clock.now_s += 0.01
        pauses.append(clock.now_s - begun_s)
        node.release_probe(ONE)
    for earlier, later in zip(pauses, pauses[1:]):
        assert later == pytest.approx(min(2 * earlier, availability.PAUSE_MAX_S), abs=0.04)
    assert pauses[-1] == pytest.approx(availability.PAUSE_MAX_S, abs=0.02)
    node.answered()
    assert node.outage is None


def test_the_pause_is_no_shorter_than_what_the_failed_try_took(clock):
    node = Availability(restart_wait_s=0, probe_limit_s=7)
    clock.now_s += 2.0
    node.failed(clock.now_s - 2.0, "no route", refused=False)
    clock.now_s += 1.9
    assert node.find_reason_to_fail(ONE) == "no route"
    clock.now_s += 0.2
    assert node.find_reason_to_fail(ONE) is None


def test_one_request_probes_and_the_others_fail_until_it_has_reported(clock):
    node = Availability(restart_wait_s=0, probe_limit_s=7)
    node.failed(clock.now_s, "refused", refused=True)
    clock.now_s += 1.1
    assert node.find_reason_to_fail(ONE) is None
    assert node.find_reason_to_fail(ONE) == "refused"
    node.release_probe(ONE)
    assert node.find_reason_to_fail(ONE) is None
    assert node.find_reason_to_fail(ONE) == "refused"
    clock.now_s += 7.1  # a probe that never ends
    assert node.find_reason_to_fail(ONE) is None


def test_a_request_that_is_no_probe_ends_no_pause(clock):
    """Such a request used a connection from before the outage, or was a probe that was given up."""
    node = Availability(restart_wait_s=0, probe_limit_s=7)
    node.failed(clock.now_s, "no route", refused=False)
    for request in (None, OTHER):
        node.release_probe(request)
        assert node.find_reason_to_fail(ONE) == "no route"
    clock.now_s += 1.1
    assert node.find_reason_to_fail(ONE) is None
    clock.now_s += 7.1
    assert node.find_reason_to_fail(OTHER) is None
    node.release_probe(ONE)
    assert node.find_reason_to_fail(ONE) == "no route"
    node.failed(clock.now_s, "no route", refused=False)
    node.release_probe(OTHER)
    assert node.find_reason_to_fail(ONE) == "no route"


def test_all_who_wait_for_a_restart_stop_at_the_same_time(clock):
    node = Availability(restart_wait_s=1, probe_limit_s=7)
    assert node.find_retry_pause(clock.now_s) > 0
    clock.now_s += 0.9
    assert 0 < node.find_retry_pause(clock.now_s) <= 0.1
    clock.now_s += 0.2
    assert node.find_retry_pause(clock.now_s - 1) is None
    node.failed(clock.now_s, "refused", refused=True)
    assert node.find_reason_to_fail(ONE) == "refused"
    assert node.find_retry_pause(clock.now_s) is None


def test_a_wait_that_nobody_saw_to_its_end_does_not_spoil_the_next(clock):
    node = Availability(restart_wait_s=1, probe_limit_s=7)
    assert node.find_retry_pause(clock.now_s) > 0
    clock.now_s += 3600
    assert node.find_retry_pause(clock.now_s) > 0


def test_failures_side_by_side_count_once(clock):
    node = Availability(restart_wait_s=0, probe_limit_s=7)
    begun_s = clock.now_s
    clock.now_s += 1
    for _ in range(8):
        node.failed(begun_s, "no route", refused=False)
    assert node.outage.failures == 1


@pytest.mark.usefixtures("inside_pymemcache")
def test_a_daemon_that_hangs_is_left_alone_and_found_again(own_daemon, long_pauses):
    with stayd.Client(own_daemon.url("sessions") + "?timeout=1&connect_timeout=20") as client:
        client.set("k", b"1")
        freeze(own_daemon.pid)
        try:
            for _ in range(2):
                with pytest.raises(stayd.ConnectionError, match="within 1 s"):
                    client.get("k")
            with pytest.raises(stayd.ConnectionError, match="cannot be reached.*did not answer"):
                client.get("k")
        finally:
            os.kill(own_daemon.pid, signal.SIGCONT)
        client._connections.availability.outage.until_s = 0  # the pause is over
        assert client.get("k") == b"1"
        assert client._connections.availability.outage is None


def create(session):
    SessionStore().create()


@pytest.mark.parametrize("change", [SessionStore.save, SessionStore.delete, create])
@pytest.mark.usefixtures("inside_pymemcache")
def test_a_session_waits_for_a_pool_that_hangs_twice_at_most(own_daemon, monkeypatch, change):
    """A pool's disk hangs. The daemon answers other requests, so it counts as up."""
    monkeypatch.setattr(availability, "SILENCES", 100)
    failures = []
    why_failed = Connection.why_failed

    def noted(self, error):
        failures.append(why_failed(self, error))
        return failures[-1]

    monkeypatch.setattr(Connection, "why_failed", noted)
    with override_settings(SESSION_CACHE=own_daemon.url("sessions")):
        created = SessionStore()
        created.create()
    with override_settings(SESSION_CACHE=own_daemon.url("sessions") + "?timeout=0.1"):
        session = SessionStore(created.session_key)
        session["visits"] = 1
        freeze(own_daemon.pid)
        try:
            with pytest.raises(SessionsUnreachable, match="within 0.1 s"):
                change(session)
        finally:
            os.kill(own_daemon.pid, signal.SIGCONT)
    assert [type(failure) for failure in failures] == [TimedOut, TimedOut]


def test_one_request_without_an_answer_is_no_outage_while_others_have_theirs(clock):
    node = Availability(restart_wait_s=0, probe_limit_s=7)
    for _ in range(10):
        node.note_silence(clock.now_s, clock.now_s + 1, "silent")
        clock.now_s += 5
    assert node.outage is None


@pytest.mark.usefixtures("inside_pymemcache")
def test_an_interrupted_probe_lets_the_next_request_try(daemon, monkeypatch, clock):
    class Interrupt(BaseException):
        pass

    def interrupt(*_):
        raise Interrupt

    with stayd.Client(daemon.url("sessions")) as client:
        client._connections.availability.failed(clock.now_s, "down", refused=True)
        clock.now_s += 2
        with monkeypatch.context() as patch:
            patch.setattr(Connection, "_connect", interrupt)
            with pytest.raises(Interrupt):
                client.get("k")
        assert client.get("k") is None


@pytest.mark.usefixtures("inside_pymemcache")
def test_a_probe_without_a_connection_lets_the_next_request_try(daemon, clock):
    with stayd.Client(daemon.url("sessions"), max_connections=1) as client:
        client._connections.availability.failed(clock.now_s, "down", refused=True)
        clock.now_s += 2
        taken = client._connections.take()
        with pytest.raises(stayd.ConnectionError, match="all 1 connections are in use"):
            client.get("k")
        client._connections.give_back(taken)
        assert client.get("k") is None


@pytest.mark.parametrize("reply", [b"SERVER_ERROR busy\r\n", b"HTTP/1.1 400\r\n"])
@pytest.mark.usefixtures("inside_pymemcache")
def test_a_probe_that_is_answered_with_an_error_lets_the_next_request_try(reply, clock):
    with Scripted([reply], [b"END\r\n"]) as server, stayd.Client(server.url) as client:
        client._connections.availability.failed(clock.now_s, "down", refused=True)
        clock.now_s += 2
        with pytest.raises(stayd.Error):
            client.get("k")
        assert client.get("k") is None


def test_a_full_queue_of_connections_is_waited_for(tmp_path):
    path = str(tmp_path / "s.sock")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as filler:
        listener.bind(path)
        listener.listen(0)
        filler.connect(path)
        with stayd.Client(f"unix://{path}?connect_timeout=20&restart_wait=0") as client:
            answers = []
            thread = threading.Thread(target=lambda: answers.append(client.get("k")))
            thread.start()
            listener.accept()[0].close()
            connection, _ = listener.accept()
            with connection:
                take_request(connection)
                connection.sendall(b"END\r\n")
            thread.join(20)
            assert answers == [None]


@pytest.mark.usefixtures("inside_pymemcache")
def test_connections_that_only_a_burst_needed_are_closed(daemon, clock):
    counter = daemon.connect("sessions")

    def open_now():
        return int(counter.stats()["curr_connections"])

    before = open_now()
    with stayd.Client(daemon.url("sessions") + "?idle_timeout=30") as client:
        barrier = threading.Barrier(8)

        def hold():
            connection = client._connections.take()
            connection.version()
            barrier.wait(10)
            client._connections.give_back(connection)

        together(*[hold] * 8)
        assert open_now() == before + 8
        for _ in range(4):
            clock.now_s += 20
            client.get("k")
        wait_until(lambda: open_now() == before + 1, what="the end of the others")
        assert client._connections.idle_count == 1


@pytest.mark.usefixtures("inside_pymemcache")
def test_a_connection_that_was_idle_for_too_long_is_not_used_again(daemon, clock, connects):
    with stayd.Client(daemon.url("sessions") + "?idle_timeout=30") as client:
        client.get("k")
        clock.now_s += 29
        client.get("k")
        assert len(connects) == 1
        clock.now_s += 31
        assert client.add("k", b"1") is True
        assert len(connects) == 2
        assert client._connections.idle_count == 1


def test_a_save_of_a_session_that_is_gone_is_no_outage(daemon):
    with pytest.raises(UpdateError):
        SessionStore("k" * 32).save()
