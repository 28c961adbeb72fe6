"""The Python client on a clustered pool: it goes over to a neighbour, and what it reads from shared
memory is what the host would answer over the socket."""

import threading

import pytest
import stayd
from stayd import client as stayd_client
from stayd import cluster_client
from support.raw import wait_until


@pytest.fixture(params=["native", "pymemcache"])
def backend(request, monkeypatch):
    if request.param == "native" and stayd_client.extension is None:
        pytest.skip(f"stayd._client is not there: {stayd_client.WITHOUT_EXTENSION}")
    monkeypatch.setenv(stayd_client.CHOICE, request.param)
    return request.param


@pytest.fixture
def soon(monkeypatch):
    """Pauses are short."""
    monkeypatch.setattr(cluster_client, "PAUSE_MIN_S", 0.05)
    monkeypatch.setattr(cluster_client, "PAUSE_MAX_S", 0.2)


def url_of(*stayds):
    """The pool's URL: the first host over its socket."""
    first, *others = stayds
    hosts = [first.socket("sessions").replace("/", "%2F"), *(each.address("sessions") for each in others)]
    return f"memcached://{','.join(hosts)}/?cluster=yes"


def test_a_client_serves_on_while_its_host_restarts(hosts, backend, soon):
    first, second = hosts.host(), hosts.host()
    with stayd.Client(url_of(first, second)) as client:
        client.set("n", b"0")
        counts, unknown, stop = [], [], threading.Event()

        def count():
            while not stop.is_set():
                try:
                    counts.append(client.incr("n"))
                except stayd.OutcomeUnknown as error:  # it was on its way when the host was killed
                    unknown.append(error)

        thread = threading.Thread(target=count)
        thread.start()
        try:
            for end in (first.kill9, first.terminate):
                wait_for_more(counts, "counts on the first host")
                assert client.stats()["pid"] == first.pid
                end()
                wait_for_more(counts, "counts on the second host")
                assert client.stats()["pid"] == second.pid
                first.start()
                wait_until(lambda: client.stats()["pid"] == first.pid, 60, "the first host is used again")
        finally:
            stop.set()
            thread.join()
        assert counts == sorted(set(counts))
        assert len(counts) <= int(client.get("n")) <= len(counts) + len(unknown)
        assert len(unknown) <= 2


def wait_for_more(counts, what):
    enough = len(counts) + 10
    wait_until(lambda: len(counts) >= enough, 60, what)


def test_what_another_host_has_just_stored_is_found(hosts, backend):
    first, second = hosts.host(), hosts.host()
    with stayd.Client(url_of(first)) as client, stayd.Client(url_of(second)) as other:
        for number in range(50):
            assert other.add(f"k{number}", b"v")
            value, cas = client.gets_confirmed(f"k{number}")
            assert value == b"v" and cas
            assert other.replace(f"k{number}", b"w")
            assert client.gets_confirmed(f"k{number}", b"v")[0] == b"w"
            other.delete(f"k{number}")
        assert client.gets_confirmed("another") == (None, None)


@pytest.fixture
def mapped(hosts, monkeypatch):
    """Two hosts, and the native client of the first, which maps its memory."""
    if stayd_client.extension is None:
        pytest.skip(f"stayd._client is not there: {stayd_client.WITHOUT_EXTENSION}")
    monkeypatch.setenv(stayd_client.CHOICE, "native")
    first, second = hosts.host(), hosts.host()
    with stayd.Client(f"{first.unix_url('sessions')}?cluster=yes") as client:
        with stayd.Client(f"{second.url('sessions')}?cluster=yes") as other:
            other.set("k", b"0")
            wait_until(lambda: client.get("k") == b"0", 30, "the item on the first host")
            wait_until(lambda: client.get_mapped("k") == b"0", 30, "the mapping")
            yield first, second, client, other


def test_a_mapped_reader_sees_what_the_socket_sees(mapped):
    first, _, client, other = mapped
    connection = first.connect("sessions")
    stop = threading.Event()

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            other.set("k", str(number).encode())

    thread = threading.Thread(target=write)
    thread.start()
    try:
        seen = set()
        while len(seen) < 50:
            before, value, after = connection.get(b"k"), client.get_mapped("k"), connection.get(b"k")
            if value is not None:
                assert int(before) <= int(value) <= int(after)
                seen.add(value)
    finally:
        stop.set()
        thread.join()
    other.delete("k")
    wait_until(lambda: connection.get(b"k") is None, 30, "the removal")
    assert client.get_mapped("k") is None and client.get("k") is None


def test_a_mapped_reader_does_not_trust_a_host_that_is_gone(mapped):
    first, _, client, other = mapped
    first.kill9()
    assert client.get_mapped("k") is None
    other.delete("k")
    first.start()
    assert client.get("k") is None and client.get_mapped("k") is None
    other.set("k", b"1")
    wait_until(lambda: client.get("k") == b"1" and client.get_mapped("k") == b"1", 30, "a new mapping")


def test_nor_one_that_was_stopped_even_if_it_reads_nothing_meanwhile(mapped):
    first, _, client, other = mapped
    first.terminate()
    other.set("k", b"1")
    other.delete("k")
    first.start()
    assert client.get_mapped("k") is None
    assert client.get("k") is None
