"""libstayd while its server is down, does not answer, or is restarted, or while one of several
servers is down."""

import contextlib
import os
import signal
import socket
import ssl
import threading

import pytest

from libstayd.programs import BUSY, DISCONNECTED, NOT_FOUND, OK, OUTCOME_UNKNOWN, Shell
from support.servers import Memcached, Stayd, free_port, freeze, wait_until


def test_a_restart_is_a_pause():
    with Stayd() as stayd, Shell(stayd.unix_url("sessions"), "restart_wait=20000") as shell:
        assert shell.status("set k v") == OK
        for _ in range(3):
            stayd.terminate()
            shell.begin("get k")
            stayd.start()
            status, _, _, text = shell.end()
            assert (status, text) == (OK, "v")
            assert shell.status("set k v") == OK


def hang_up(listener, context):
    """Takes connections, reads something of each, and hangs up."""
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with contextlib.suppress(OSError):
                if context is not None:
                    connection = context.wrap_socket(connection, server_side=True)
                connection.recv(100)
            connection.close()


@pytest.mark.parametrize("tls", [False, True])
def test_a_server_that_hangs_up_raises_no_signal(tls, made):
    """The system raises SIGPIPE on a write to a connection whose other end has closed."""
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(made["server.pem"], made["server.key"])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=hang_up, args=(listener, context))
        thread.start()
        port = listener.getsockname()[1]
        url = f"memcacheds://localhost:{port}/?ca={made['ca.pem']}" if tls else f"127.0.0.1:{port}"
        with Shell(url, "restart_wait=-1") as shell:
            for _ in range(3):
                assert shell.status("large k 30000000") == DISCONNECTED
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_an_outage_is_paid_for_once():
    with Stayd() as stayd, Shell(stayd.url("cache"), "restart_wait=1000") as shell:
        assert shell.status("set k v") == OK
        stayd.terminate()
        status, ms, _, text = shell.ask("get k")
        assert status == DISCONNECTED and "refused" in text
        assert ms >= 900
        quick = [shell.ask("get k") for _ in range(50)]
        assert all(answer[0] == DISCONNECTED for answer in quick)
        assert sum(answer[1] for answer in quick) < 900
        stayd.start()
        wait_until(lambda: shell.status("get k") == NOT_FOUND, what="the client to find the server")


def test_a_change_that_a_dead_server_took_is_of_unknown_outcome():
    with Memcached() as server, Shell(server.url(), "timeout=1000") as shell:
        assert shell.status("set k v") == OK
        freeze(server.pid)
        try:
            status, ms, timed_out, text = shell.ask("set k w")
            assert (status, timed_out) == (OUTCOME_UNKNOWN, 1) and "not known" in text
            assert ms >= 900
            status, _, timed_out, _ = shell.ask("get k")
            assert (status, timed_out) == (DISCONNECTED, 1)
            # Two requests without an answer make an outage.
            status, ms, _, _ = shell.ask("get k")
            assert status == DISCONNECTED and ms < 900
        finally:
            os.kill(server.pid, signal.SIGCONT)
        wait_until(lambda: shell.status("get k") == OK, what="the client to find the server")


def test_a_call_has_a_limit_over_all_its_tries():
    with Shell(f"127.0.0.1:{free_port()}", "restart_wait=60000", "total=300") as shell:
        status, ms, _, _ = shell.ask("get k")
        assert status == DISCONNECTED
        assert 250 <= ms < 20000


def keys_by_server(servers, count=60):
    """Some keys, and the server for each key: the server that stored it."""
    keys = [f"key:{i}" for i in range(count)]
    with Shell(",".join(server.url() for server in servers)) as shell:
        for key in keys:
            assert shell.status(f"set {key} {key}") == OK
    owners = []
    for server in servers:
        with Shell(server.url()) as shell:
            owners.append([key for key in keys if shell.status(f"get {key}") == OK])
    assert sorted(sum(owners, [])) == sorted(keys) and all(owners)
    return owners


def test_keys_of_a_dead_server_fail_and_the_others_go_on():
    with Memcached() as one, Memcached() as two:
        ours, theirs = keys_by_server([one, two])
        with Shell(f"{one.url()},{two.url()}", "restart_wait=-1") as shell:
            two.terminate()
            for key in ours[:10]:
                assert shell.ask(f"get {key}")[3] == key
            for key in theirs[:10]:
                assert shell.status(f"get {key}") == DISCONNECTED
            status, _, _, text = shell.ask(f"many {ours[0]} {theirs[0]} {ours[1]}")
            assert status == DISCONNECTED
            assert text.split() == [f"0:{ours[0]}", "17:", f"0:{ours[1]}"]


def test_with_failover_the_next_server_has_a_dead_ones_keys():
    with Memcached() as one, Memcached() as two:
        _, theirs = keys_by_server([one, two])
        with Shell(f"{one.url()},{two.url()}", "restart_wait=-1", "failover") as shell:
            two.terminate()
            for key in theirs[:10]:
                assert shell.status(f"get {key}") == NOT_FOUND
                assert shell.status(f"set {key} moved") == OK
                assert shell.ask(f"get {key}")[3] == "moved"
            one.terminate()
            assert shell.status(f"get {theirs[0]}") == DISCONNECTED


def test_a_server_with_too_many_connections_turns_the_client_away():
    with Stayd(server={"max_connections": 1}) as stayd, stayd.connect("cache") as taken:
        taken.expect_in_step()
        with Shell(stayd.unix_url("cache")) as shell:
            assert shell.status("set k v") == BUSY
