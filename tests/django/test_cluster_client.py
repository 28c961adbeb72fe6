"""A client of a clustered pool with several hosts. The hosts are two daemons without a cluster, so that
each test sees which of them has carried a request out."""

import os
import signal
import threading
import time

import pytest
import stayd
from django.test.utils import override_settings
from relay import AFTER, Relay
from scripted import Scripted
from stayd import cluster_client
from support.servers import free_port, freeze, wait_until

pytestmark = pytest.mark.each_backend

SECOND = b"of the second host"


def url_of(*hosts, options=""):
    """The URL of a clustered pool on these hosts: HOST:PORT each."""
    return f"memcached://{','.join(hosts)}/?cluster=yes{options}"


def background(function):
    """A thread that runs the function."""
    thread = threading.Thread(target=function)
    thread.start()
    return thread


@pytest.fixture
def soon(monkeypatch):
    """Pauses are short."""
    monkeypatch.setattr(cluster_client, "PAUSE_MIN_S", 0.05)
    monkeypatch.setattr(cluster_client, "PAUSE_MAX_S", 0.1)


@pytest.fixture
def second(daemon):
    """The second host: it has an item `k`."""
    with stayd.Client(daemon.url("sessions")) as client:
        client.set("k", SECOND)
        yield client


@pytest.fixture
def pair(own_daemon, second):
    """A client of two hosts; the first has another item `k`."""
    with stayd.Client(own_daemon.url("sessions")) as client:
        client.set("k", b"of the first host")
    hosts = own_daemon.address("sessions"), second.url.split("/")[2]
    with stayd.Client(url_of(*hosts)) as client:
        yield client


def before(port, second, options=""):
    """A client whose first host is on this port of loopback."""
    return stayd.Client(url_of(f"127.0.0.1:{port}", second.url.split("/")[2], options=options))


def test_the_first_host_is_used_until_it_is_gone_and_again_when_it_is_back(soon, own_daemon, pair):
    first_pid = own_daemon.pid
    assert pair.get("k") == b"of the first host"
    assert pair.stats()["pid"] == first_pid
    own_daemon.kill9()
    pair.set("meanwhile", b"1")  # (the native client still reads the first one's items without it)
    assert pair.get("k") == SECOND
    assert pair.get_many(["k", "meanwhile"]) == {"k": SECOND, "meanwhile": b"1"}
    pair.set_many({"a": b"1", "b": b"2"})
    assert pair.get("b") == b"2"
    own_daemon.start()
    wait_until(lambda: pair.stats()["pid"] == own_daemon.pid, what="the first host is used again")
    assert pair.get("k") == b"of the first host"


def test_every_request_goes_over_to_the_second_host(second):
    with before(free_port(), second) as client:
        value, number = client.gets("k")
        assert value == SECOND
        assert client.cas("k", b"1", number) is True
        assert client.add("k", b"2") is False
        assert client.replace("k", b"2") is True
        assert client.touch("k", 100) is True
        assert client.incr("k", 3) == 5
        assert client.incr("k", -1) == 4
        assert client.set_many({"a": b"1"}) == []
        client.delete_many(["a"])
        assert client.delete("k") is True
        client.set("k", b"9", 100)
        assert "VERSION" not in client.version()
        client.flush()
        assert client.get("k", b"none") == b"none"
        assert client.get_mapped("k", b"none") == b"none"
        assert client.backend == second.backend


def test_a_host_that_stands_still_is_left_after_a_read(monkeypatch, own_daemon, second):
    monkeypatch.setattr(cluster_client, "READ_TIMEOUT_S", 0.3)
    with before(own_daemon.port("sessions"), second) as client:
        client.set("k", b"1")
        freeze(own_daemon.pid)
        client._first.reads.close()  # a read from shared memory needs no daemon that runs
        assert client.get("another", b"none") == b"none"
        began_s = time.monotonic()
        client.set("k2", b"1")  # to the second host, though a write may take 12 s
        assert time.monotonic() - began_s < 10
        assert second.get("k2") == b"1"
        os.kill(own_daemon.pid, signal.SIGCONT)


def test_a_write_that_may_have_been_carried_out_is_not_sent_to_another_host(own_daemon, second):
    with Relay(("127.0.0.1", own_daemon.port("sessions"))) as relay:
        with before(port_of(relay), second) as client:
            client.set("k", b"1")
            relay.cut(AFTER)
            with pytest.raises(stayd.OutcomeUnknown):
                client.set("k", b"2")
            assert second.get("k") == SECOND
            assert client.get("k") == SECOND  # the next request goes to the other host
            with stayd.Client(own_daemon.url("sessions")) as first:
                assert first.get("k") == b"2"


def port_of(server):
    """The port in the server's URL."""
    return int(server.url.rstrip("/").rsplit(":", 1)[1])


UNAVAILABLE, CATCHING_UP = b"SERVER_ERROR replication unavailable\r\n", b"SERVER_ERROR catching up\r\n"


def test_a_write_that_the_cluster_did_not_confirm_has_an_unknown_outcome(second):
    with Scripted([UNAVAILABLE]) as server:
        with before(server.port, second) as client:
            with pytest.raises(stayd.OutcomeUnknown, match="did not confirm") as caught:
                client.set("k", b"2")
            assert caught.value.timed_out
            assert second.get("k") == SECOND
            assert client.get("k") == SECOND


@pytest.mark.parametrize("request_of", [
    lambda client: client.get("k") == SECOND,
    lambda client: client.add("new", b"1"),
])
def test_a_host_that_catches_up_is_left_out(second, request_of):
    with Scripted([CATCHING_UP]) as server:
        with before(server.port, second) as client:
            assert request_of(client)


def test_a_plain_client_tells_the_same_two_states(backend):
    for reply, error in [
        (UNAVAILABLE, stayd.OutcomeUnknown), (CATCHING_UP, stayd.ConnectionError),
    ]:
        with Scripted([reply]) as server, stayd.Client(server.url) as client:
            with pytest.raises(stayd.ConnectionError) as caught:
                client.set("k", b"1")
            assert type(caught.value) is error


@pytest.mark.parametrize("state", ["cluster_connected 0", "cluster_partitions 4"])
def test_a_host_that_is_not_fit_is_not_used_again(soon, second, state):
    """It answers, but its statistics say that it is cut off, or has not caught up."""
    told = f"STAT {state}\r\nEND\r\n".encode()
    answers = [[CATCHING_UP], *[[told]] * 20]
    with Scripted(*answers) as server, before(server.port, second) as client:
        client.set("k2", b"1")
        client._first.writes.close()
        wait_until(lambda: client.get("k") == SECOND and len(server.requests) > 3,
                   what="the first host was asked again and again")
        assert set(server.requests[1:]) == {b"stats\r\n"}
        assert second.get("k2") == b"1"


@pytest.mark.parametrize("reply", [UNAVAILABLE, None])
def test_a_missing_key_is_not_missing_if_the_cluster_does_not_say_so(second, reply):
    """The reply to the `cas` is an error, or none: the connection is closed, and the other host is asked."""
    answers = [[b"END\r\n"], [UNAVAILABLE] if reply else []]
    with Scripted(*answers) as server, before(server.port, second) as client:
        host = client._first
        value = host.reads.gets("k")  # the first connection
        host.reads.close()
        assert value == (None, None)
        if reply is None:
            with pytest.raises(stayd.ConnectionError) as caught:
                host.has_after_all("k")
            assert not isinstance(caught.value, stayd.OutcomeUnknown)
            return
        for _ in range(2):  # the second time at once
            with pytest.raises(stayd.ConnectionError):
                host.has_after_all("k")
        assert [each.split(b" ")[0] for each in server.requests] == [b"gets", b"cas"]


def test_an_outage_of_all_hosts_is_an_error_at_once_after_the_first_wait():
    hosts = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    with stayd.Client(url_of(*hosts, options="&restart_wait=0.2")) as client:
        for _ in range(3):
            with pytest.raises(stayd.ConnectionError, match="no host of the clustered pool") as caught:
                client.set("k", b"1")
            assert not isinstance(caught.value, stayd.OutcomeUnknown)


def test_requests_wait_while_all_hosts_restart(own_daemon):
    with stayd.Client(url_of(f"127.0.0.1:{free_port()}", own_daemon.address("sessions"),
                             options="&restart_wait=60")) as client:
        client.set("k", b"1")
        own_daemon.kill9()
        waiting = background(lambda: client.set("k", b"2"))
        wait_until(lambda: client._all_away_s, what="all hosts were tried")
        own_daemon.start()
        waiting.join()
        assert client.get("k") == b"2"


def test_a_session_engine_works_with_several_hosts(own_daemon, second):
    from stayd.django.session_backend import SessionStore

    hosts = own_daemon.address("sessions"), second.url.split("/")[2]
    with override_settings(SESSION_CACHE=url_of(*hosts)):
        store = SessionStore()
        store["basket"] = ["walden"]
        store.create()
        assert SessionStore(store.session_key)["basket"] == ["walden"]
        own_daemon.kill9()
        other = SessionStore()
        other["basket"] = ["flatland"]
        other.create()
        assert SessionStore(other.session_key)["basket"] == ["flatland"]
        SessionStore(other.session_key).delete()
        assert SessionStore(other.session_key).get("basket") is None
