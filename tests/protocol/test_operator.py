"""The operator's commands: which clients may use them, what they show of other clients, and what
they cost."""

import socket
import threading
import time

import pytest

from support import certificates
from support.bystander import Bystander, longest_wait, most_wait
from support.filling import store_many
from support.servers import Raw, Stayd, free_port, wait_until

NOT_ALLOWED = b"CLIENT_ERROR not allowed: see admin_commands of the pool\r\n"

OF_POOL = [b"lru_crawler metadump all", b"stats cachedump 8 1", b"stats conns", b"watch", b"hold 1",
           b"stats detail on", b"cache_memlimit 64"]
OF_DAEMON = [b"verbosity 1", b"refresh_certs", b"shutdown"]


def refused(connect, lines):
    """Returns which of the lines are refused. Each line is sent on a connection of its own."""
    found = []
    for line in lines:
        with connect() as connection:
            connection.send(line + b"\r\n")
            if connection.read_line() + b"\r\n" == NOT_ALLOWED:
                found.append(line)
    return found


def own_address():
    """An address of this machine outside the loopback network, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("192.0.2.1", 9))  # sends nothing: the system only chooses the address
        except OSError:
            return None
        host = asking.getsockname()[0]
    return None if host.startswith("127.") else host


def test_without_a_setting_the_commands_are_for_clients_on_this_machine():
    host, port = own_address(), free_port()
    if host is None:
        pytest.skip("this machine has no address but loopback")
    with Stayd(cache={"listen": f"0.0.0.0:{port}, unix:cache.sock", "insecure": "yes"}) as stayd:
        assert refused(lambda: Raw((host, port)), OF_POOL + OF_DAEMON) == OF_POOL + OF_DAEMON
        for near in (("127.0.0.1", port), stayd.socket("cache")):
            assert refused(lambda: Raw(near), OF_POOL + OF_DAEMON) == []
        with Raw((host, port)) as far:
            assert far.set(b"k", b"v") == b"STORED" and far.get(b"k") == b"v"
            assert far.stats(b"settings")["admin_commands"] == "local"


def test_no_means_nobody_and_yes_everybody():
    host, port = own_address(), free_port()
    with Stayd(cache={"admin_commands": "no"},
               pools={"open": {"admin_commands": "yes", "insecure": "yes",
                               "listen": f"0.0.0.0:{port}"}}) as stayd:
        both = OF_POOL + OF_DAEMON
        assert refused(lambda: stayd.connect_socket("cache"), both) == both
        assert refused(lambda: Raw((host or "127.0.0.1", port)), both) == []


def test_memcacheds_command_line_gives_them_to_all_as_memcached_does(tmp_path):
    class AsMemcached(Stayd):
        def command(self):
            return [self.binary, "-p", str(self.port("cache")), "-m", "16"]

        def _addresses(self):
            yield ("127.0.0.1", self.port("cache"))

    with AsMemcached() as stayd, stayd.connect("cache") as connection:
        assert connection.stats(b"settings")["admin_commands"] == "yes"
        connection.ask(b"shutdown\r\n", b"SERVER_ERROR: shutdown not enabled\r\n")


@pytest.fixture
def users(tmp_path):
    """The auth file: the users who may log in to the pool."""
    path = tmp_path / "users"
    path.write_text("bob:secret\n")
    path.chmod(0o600)
    return path


def logged_in(stayd, pool):
    """A connection to the pool that has logged in."""
    connection = stayd.connect_socket(pool)
    connection.ask(b"set login 0 -1 10\r\nbob secret\r\n", b"STORED\r\n")
    return connection


def test_what_concerns_all_pools_takes_a_login_where_one_of_them_has_logins(users):
    with Stayd(sessions={"auth_file": users}) as stayd:
        both = OF_POOL + OF_DAEMON
        assert refused(lambda: stayd.connect_socket("cache"), both) == OF_DAEMON
        assert refused(lambda: logged_in(stayd, "sessions"), both) == []
        assert "debug: " not in stayd.log or "verbosity" not in stayd.log


def test_a_pool_tells_nobody_who_the_clients_of_another_are(users):
    with Stayd(sessions={"auth_file": users}) as stayd:
        member, other = logged_in(stayd, "sessions"), stayd.connect("sessions")
        with stayd.connect("cache") as stranger, stayd.connect("cache") as watcher:
            watcher.ask(b"watch connevents\r\n", b"OK\r\n")
            shown = set(stranger.stats(b"conns").values())
            port = stayd.port("sessions")
            assert f"tcp:127.0.0.1:{stayd.port('cache')}" in shown
            assert not any(f":{port}" in value for value in shown)
            assert f"unix:{stayd.socket('sessions')}" not in shown
            other.close()
            logged_in(stayd, "sessions").close()
            stayd.connect("cache").close()
            told = watcher.read_until(b"conn_new")
            assert told.count(b"type=") == 1  # the watcher's first line is about its own pool
        assert f"tcp:127.0.0.1:{port}" in member.stats(b"conns").values()


def test_three_thousand_reloads_of_certificates_make_nobody_wait(tmp_path):
    made = certificates.make(tmp_path)
    tls = {"tls_cert": made["server.pem"], "tls_key": made["server.key"], "memory": "16M"}
    with Stayd(server={"threads": 1}, pools={f"far{n}": tls for n in range(4)}) as stayd:
        idle = longest_wait(stayd.socket("sessions"))
        with Bystander(stayd.socket("sessions")) as other:
            clients = [stayd.connect("cache") for _ in range(30)]
            began = time.monotonic()
            for client in clients:
                client.send(b"refresh_certs\r\n" * 100)
            for client in clients:
                client.expect(b"OK\r\n" * 2)
            spent = time.monotonic() - began
        other.expect_undisturbed(idle)
        reloads = stayd.log.count("certificates of 4 pools reloaded")
        assert 2 <= reloads <= 3 + spent / 0.1  # requests share reloads, which have pauses between them
        for client in clients:
            client.close()


def test_a_reload_that_is_waited_for_does_not_hold_up_the_stop(tmp_path):
    made = certificates.make(tmp_path)
    with Stayd(cache={"tls_cert": made["server.pem"], "tls_key": made["server.key"]}) as stayd:
        client = stayd.connect("sessions")
        client.send(b"refresh_certs\r\n" * 1000)
        client.expect(b"OK\r\n")
        began = time.monotonic()
        stayd.terminate()
        # A request that has not ended by then gets 2 s more.
        assert time.monotonic() - began < most_wait(0, margin=1.9)


def test_a_client_that_leaves_while_it_waits_for_a_reload_leaves_nothing_behind(tmp_path):
    made = certificates.make(tmp_path)
    with Stayd(cache={"tls_cert": made["server.pem"], "tls_key": made["server.key"]}) as stayd:
        with stayd.connect("sessions") as keeper:
            for _ in range(10):
                leaver = stayd.connect("sessions")
                leaver.send(b"refresh_certs\r\nmn\r\n" * 50)
                leaver.reset()
            wait_until(lambda: keeper.stats()["curr_connections"] == "1")
            keeper.ask(b"refresh_certs\r\nmn\r\n", b"OK\r\nMN\r\n")


def test_a_storm_of_dumps_makes_nobody_wait():
    """200 clients ask for a dump again and again. One at a time gets it, the others get BUSY."""
    with Stayd(server={"threads": 1}, cache={"memory": "64M"}) as stayd:
        with stayd.connect("cache") as connection:
            store_many(connection, 20_000, b"key-")
        idle = longest_wait(stayd.socket("sessions"))
        done = threading.Event()
        counts = {"busy": 0, "whole": 0}

        def storm(clients):
            while not done.is_set():
                for client in clients:
                    client.send(b"lru_crawler metadump all\r\n")
                for client in clients:
                    is_busy = client.read_exact(4, timeout=60) == b"BUSY"
                    client.read_until(b"\r\n", timeout=60)  # a dump has only this line end, that of END
                    counts["busy" if is_busy else "whole"] += 1

        stormers = [threading.Thread(target=storm, args=([stayd.connect("cache") for _ in range(50)],))
                    for _ in range(4)]
        with Bystander(stayd.socket("sessions")) as other:
            for stormer in stormers:
                stormer.start()
            wait_until(lambda: counts["whole"] >= 3 and counts["busy"] > 500, timeout=60)
            done.set()
            for stormer in stormers:
                stormer.join()
        other.expect_undisturbed(idle)
