"""Which requests the client sends again when a connection breaks at any moment, while another client
writes in between."""

import os
import socket
import tempfile
import threading

import pytest
import stayd
from django.contrib.sessions.backends.base import UpdateError
from django.test.utils import override_settings
from relay import AFTER, BEFORE, Relay
from scripted import Scripted
from stayd.django.session_backend import SessionOutcomeUnknown, SessionStore
from stayd.repetition import TRIES


pytestmark = pytest.mark.each_backend


@pytest.fixture(params=["url", "unix_url"])
def relay(daemon, request):
    """A relay to the sessions pool, over TCP and over Unix sockets."""
    is_local = request.param == "unix_url"
    target = daemon.socket("sessions") if is_local else ("127.0.0.1", daemon.port("sessions"))
    with Relay(target, local=is_local) as relay:
        yield relay


@pytest.fixture
def client(relay):
    """A client behind the relay, with an open connection."""
    with stayd.Client(relay.url) as client:
        client.version()
        yield client


@pytest.fixture
def other(daemon):
    """Another client, which the relay does not touch."""
    with stayd.Client(daemon.url("sessions")) as other:
        yield other


HARMLESS = {
    "get": (lambda client: client.get("k"), b"old"),
    "gets": (lambda client: client.gets("k")[0], b"old"),
    "get_many": (lambda client: client.get_many(["k", "absent"]), {"k": b"old"}),
    "stats": (lambda client: client.stats()["pool"], "sessions"),
    "version": (lambda client: client.version() != "", True),
}

CHANGES = {
    "set": lambda client: client.set("k", b"mine"),
    "set_many": lambda client: client.set_many({"k": b"mine", "l": b"mine"}),
    "set_many of one": lambda client: client.set_many({"k": b"mine"}),
    "add": lambda client: client.add("new", b"mine"),
    "replace": lambda client: client.replace("k", b"mine"),
    "delete": lambda client: client.delete("k"),
    "delete_many": lambda client: client.delete_many(["k", "l"]),
    "delete_many of one": lambda client: client.delete_many(["k"]),
    "incr": lambda client: client.incr("n"),
    "decr": lambda client: client.incr("n", -1),
    "touch": lambda client: client.touch("k", 1000),
    "touch for ever": lambda client: client.touch("k"),
    "touch far": lambda client: client.touch("k", 90 * 86400),
    "touch into the past": lambda client: client.touch("k", 0),
    "flush": lambda client: client.flush(),
}

WRITES = {
    "writes": lambda other: other.set_many(dict.fromkeys(("k", "l", "n", "new"), b"7")),
    "deletes": lambda other: other.delete_many(["k", "l", "n", "new"]),
}


def contents(client):
    return client.get_many(["k", "l", "n", "new"])


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("moment", [BEFORE, AFTER])
@pytest.mark.parametrize("name", HARMLESS)
def test_what_does_no_harm_is_sent_again(relay, client, other, name, moment, reset):
    request, answer = HARMLESS[name]
    other.set("k", b"old")
    relay.cut(moment, reset=reset)
    assert request(client) == answer
    assert not relay.is_armed


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("moment", [BEFORE, AFTER])
@pytest.mark.parametrize("meanwhile", WRITES)
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_not_made_over_what_another_client_wrote(
    relay, client, other, name, meanwhile, moment, reset
):
    other.set_many({"k": b"old", "l": b"old", "n": b"5"})
    relay.cut(moment, lambda: WRITES[meanwhile](other), reset)
    with pytest.raises(stayd.OutcomeUnknown, match="not known.* not sent again"):
        CHANGES[name](client)
    expected = dict.fromkeys(("k", "l", "n", "new"), b"7") if meanwhile == "writes" else {}
    assert contents(other) == expected
    assert len(relay.passed_on) == (1 if moment == BEFORE else 2)  # with the fixture's `version`


@pytest.mark.parametrize("moment", [BEFORE, AFTER])
def test_cas_is_not_sent_again(relay, client, other, moment):
    other.set("k", b"old")
    _, number = client.gets("k")
    relay.cut(moment)
    with pytest.raises(stayd.OutcomeUnknown):
        client.cas("k", b"mine", number)


@pytest.mark.parametrize("moment", [BEFORE, AFTER])
def test_a_touch_that_breaks_leaves_the_end_that_another_client_gave(
    daemon, relay, client, other, moment
):
    def write():
        other.delete("k")
        other.add("k", b"new", ttl_s=50)

    other.set("k", b"old")
    relay.cut(moment, write)
    with pytest.raises(stayd.OutcomeUnknown):
        client.touch("k", 1000)
    left_s = int(daemon.connect("sessions").ask(b"mg k t\r\n").split(b"t")[-1])
    assert left_s <= 50


def test_a_read_is_not_sent_for_ever():
    with Scripted(*[[]] * TRIES, [b"END\r\n"]) as server:
        with stayd.Client(server.url) as client:
            with pytest.raises(stayd.ConnectionError, match="before it answered 'get'"):
                client.get("k")
    assert len(server.requests) == TRIES


class ClosesUnread:
    """Closes the first connection without reading from it. Answers STORED on the next connection."""

    def __init__(self, local):
        self._directory = tempfile.TemporaryDirectory(prefix="stayd-unread-")
        if local:
            path = os.path.join(self._directory.name, "s.sock")
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.bind(path)
            self._listener.listen()
            self.url = f"unix://{path}"
        else:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.url = f"memcached://127.0.0.1:{self._listener.getsockname()[1]}/"
        self._listener.settimeout(10)
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        # shutdown wakes the thread out of accept; close alone does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()
        self._directory.cleanup()

    def _serve(self):
        first, _ = self._listener.accept()
        first.recv(1, socket.MSG_PEEK)
        first.close()
        try:
            second, _ = self._listener.accept()
        except OSError:
            return
        with second:
            second.recv(1 << 16)
            second.sendall(b"STORED\r\n")


def test_what_a_unix_socket_shows_to_be_unread_is_sent_again():
    with ClosesUnread(local=True) as server, stayd.Client(server.url) as client:
        assert client.replace("k", b"1") is True


def test_a_reset_over_tcp_shows_nothing():
    with ClosesUnread(local=False) as server, stayd.Client(server.url) as client:
        with pytest.raises(stayd.OutcomeUnknown):
            client.replace("k", b"1")


def test_a_batch_that_is_refused_in_part_is_stored_once_and_no_deletion_is_undone(own_daemon):
    """The client reads each answer of a batch, so it need not set anything a second time to find out."""
    with stayd.Client(own_daemon.url("sessions")) as client:
        writes = client.stats()["cmd_set"]
        values = {"a": b"1", "large": b"x" * (2 << 20), "b": b"2"}
        assert client.set_many(values) == ["large"]
        assert client.stats()["cmd_set"] - writes <= len(values)


@pytest.fixture(params=[True, False], ids=["fallback", "digests"])
def fallback(request):
    """Whether the site also reads sessions by their earlier names."""
    with override_settings(SESSION_CACHE_KEY_FALLBACK=request.param):
        yield request.param


@pytest.fixture
def behind(relay, fallback):
    """Sessions behind the relay."""
    with override_settings(SESSION_CACHE=relay.url):
        yield relay


@pytest.fixture
def session(behind):
    """A session as it is in a request that has loaded and changed it."""
    first = SessionStore()
    first["visits"] = 1
    first.save()
    session = SessionStore(first.session_key)
    session["visits"] += 1
    return session


def visits(key):
    return SessionStore(key).get("visits")


@pytest.mark.parametrize("moment", [BEFORE, AFTER])
def test_a_session_is_saved_though_the_connection_breaks(behind, session, moment):
    behind.cut(moment)
    session.save()
    assert not behind.is_armed
    assert visits(session.session_key) == 2


@pytest.mark.parametrize("moment", [BEFORE, AFTER])
def test_a_save_that_breaks_leaves_what_another_request_saved(behind, session, moment):
    key = session.session_key

    def save_other():
        with override_settings(SESSION_CACHE=other_url):
            other = SessionStore(key)
            other["visits"] = 100
            other.save()

    other_url = f"memcached://127.0.0.1:{behind._target[1]}/"
    if not isinstance(behind._target, tuple):
        other_url = f"unix://{behind._target}"
    behind.cut(moment, save_other)
    with pytest.raises(SessionOutcomeUnknown):
        session.save()
    assert visits(key) == 100


@pytest.mark.parametrize("moment", [BEFORE, AFTER])
def test_a_save_that_breaks_revives_no_session_that_was_logged_out(behind, session, other, moment):
    behind.cut(moment, lambda: other.delete(session.cache_key))
    with pytest.raises(UpdateError):
        session.save()
    assert not session.exists(session.session_key)


def test_a_second_save_that_breaks_looks_whether_it_was_made(behind, session, fallback):
    session.save()
    session["visits"] += 1
    behind.cut(AFTER)
    session.save()
    assert visits(session.session_key) == 3
    session["visits"] += 1
    behind.cut(BEFORE)
    if fallback:  # the client asks for the version first
        session.save()
        assert visits(session.session_key) == 4
    else:
        with pytest.raises(SessionOutcomeUnknown):
            session.save()
        assert visits(session.session_key) == 3


@pytest.mark.parametrize("moment", [BEFORE, AFTER])
def test_a_new_session_is_made_though_the_connection_breaks(behind, moment):
    session = SessionStore()
    session["visits"] = 1
    session.load()
    behind.cut(moment)
    session.save()
    assert not behind.is_armed
    assert visits(session.session_key) == 1


@pytest.mark.parametrize("moment", [BEFORE, AFTER])
def test_a_logout_is_made_though_the_connection_breaks(behind, session, moment):
    behind.cut(moment)
    session.delete()
    assert not behind.is_armed
    assert not session.exists(session.session_key)


@pytest.mark.parametrize("moment", [BEFORE, AFTER])
def test_a_session_changes_its_key_though_the_connection_breaks(behind, session, moment):
    key = session.session_key
    behind.cut(moment)
    session.cycle_key()
    assert not behind.is_armed
    assert visits(session.session_key) == 2
    assert not session.exists(key)
