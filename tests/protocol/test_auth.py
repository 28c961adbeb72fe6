"""Logins on the real daemon: the text login of memcached's -Y, and what stayd does differently."""

import os
import re
import resource
import signal
import socket
import struct
import subprocess
import threading
import time
import urllib.request

import pytest

from support.hashes import crypt, hashed
from support.processor import thread_seconds
from support.servers import Memcached, Raw, ServerError, Stayd, free_port, stayd_binary, wait_until

PLAIN = "# web servers\n\nbob:secret\nann:s3:cret\n"
UNAUTHENTICATED = b"CLIENT_ERROR unauthenticated\r\n"
FAILURE = b"CLIENT_ERROR authentication failure\r\n"
BURST = 20  # LOGIN_LIMIT_BURST


def login(user="bob", password="secret"):
    value = f"{user} {password}".encode()
    return b"set login 0 0 %d\r\n%b\r\n" % (len(value), value)


SLOW = hashed("secret", rounds=200_000)  # a try takes some 0.1 s: long enough to look at the daemon meanwhile


class Guarded(Stayd):
    """A daemon whose pool `sessions` needs a login and whose pool `cache` does not."""

    def __init__(self, users=PLAIN, **more):
        super().__init__(sessions={"auth_file": "{dir}/users"}, **more)
        self.users = self.directory / "users"
        self.write(users)

    def write(self, users, mode=0o600):
        self.users.write_text(users)
        self.users.chmod(mode)

    def reload(self):
        """Sends SIGHUP; waits until the log says that the reload has ended."""
        before = self.log.count("SIGHUP")
        said = re.findall("has been read again|has errors and is not used", self.log)
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.log.count("SIGHUP") > before)
        wait_until(lambda: len(re.findall("has been read again|has errors and is not used", self.log))
                   > len(said))

    def connect_from(self, host):
        """A connection to `sessions` from another loopback address: each address has tries of its own."""
        connection = Raw.__new__(Raw)
        connection.timeout = 10.0
        connection.buffer = bytearray()
        connection.address = ("127.0.0.1", self.port("sessions"))
        connection.socket = socket.create_connection(connection.address, 10.0, (host, 0))
        return self._keep(connection)


@pytest.fixture(scope="module")
def guarded():
    with Guarded() as server:
        yield server


addresses = (f"127.9.{i // 250}.{i % 250 + 1}" for i in range(50_000))


@pytest.fixture
def stranger(guarded):
    """A connection that is not logged in, from an address that no other test has used."""
    with guarded.connect_from(next(addresses)) as connection:
        yield connection


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    path = tmp_path_factory.mktemp("peer") / "users"
    path.write_text("bob:secret\nann:s3:cret\n")
    with Memcached(options=["-Y", str(path)]) as server:
        yield server


CONVERSATIONS = [
    [b"get a\r\n", b"version\r\n", b"quit\r\n", b"mn\r\n", b"\r\n", b"nonsense\r\n", login(), b"mn\r\n"],
    [login(), login(), b"get login\r\n"],
    [login(password="wrong"), b"get a\r\n", login(), b"get a\r\n"],
    [login("nobody"), login("ann", "s3:cret"), b"mn\r\n"],
    [login("bob", "secre"), login("bob", "secretx"), login("bo", "bsecret"), b"mn\r\n"],
    [b"set x 0 0 10 noreply\r\nbob secret\r\n", b"mn\r\n"],
    [b"set x foo bar 10\r\nbob secret\r\n", b"mn\r\n"],
    [b"set " + b"k" * 300 + b" 0 0 10\r\nbob secret\r\n", b"mn\r\n"],
    [b"set x 0 0 3\r\nbob\r\n", b"set x 0 0 0\r\n\r\n", b"mn\r\n"],
    [b"set x 0 0 10\r\nbob secretXX", login(), b"mn\r\n"],
    [b"stats\r\n", b"flush_all\r\n", b"delete a\r\n", b"mg a v\r\n", login(), b"get a\r\n"],
]


@pytest.mark.parametrize("conversation", CONVERSATIONS)
def test_a_login_is_answered_as_memcached_answers_it(peer, guarded, conversation):
    with peer.connect() as theirs, guarded.connect_from(next(addresses)) as ours:
        for request in conversation:
            answer = theirs.ask(request)
            assert ours.ask(request) == answer, request
            if answer.startswith(b"VALUE "):
                rest = theirs.read_until(b"END\r\n")
                assert ours.read_until(b"END\r\n") == rest
        assert ours.ask(b"mn\r\n") == theirs.ask(b"mn\r\n")  # both are in step


def test_nothing_can_be_read_or_changed_before_the_login(guarded, stranger):
    with guarded.connect("sessions") as owner:
        owner.ask(login(), b"STORED\r\n")
        owner.ask(b"set kept 0 0 5\r\nvalue\r\n", b"STORED\r\n")
        stranger.ask(b"get kept\r\n", UNAUTHENTICATED)
        stranger.ask(b"flush_all\r\n", UNAUTHENTICATED)
        stranger.ask(b"ms kept 9\r\nflush_all\r\n", UNAUTHENTICATED)
        stranger.ask(b"add new 0 0 9\r\nflush_all\r\n", UNAUTHENTICATED)
        stranger.ask(b"stats\r\n", UNAUTHENTICATED)
        owner.ask(b"get kept new\r\n", b"VALUE kept 0 5\r\nvalue\r\nEND\r\n")


def test_a_pool_without_an_auth_file_asks_nobody(guarded):
    with guarded.connect("cache") as connection:
        connection.ask(b"set x 0 0 10\r\nbob secret\r\n", b"STORED\r\n")
        connection.ask(b"get x\r\n", b"VALUE x 0 10\r\nbob secret\r\nEND\r\n")


def test_a_unix_socket_asks_for_the_login_too(guarded):
    with guarded.connect_socket("sessions") as connection:
        connection.ask(b"get a\r\n", UNAUTHENTICATED)
        connection.ask(login("ann", "s3:cret"), b"STORED\r\n")
        connection.expect_in_step()


def test_a_password_may_hold_spaces_although_memcached_stops_there():
    with Guarded("bob:two  words \n") as server, server.connect("sessions") as connection:
        connection.ask(login("bob", "two"), FAILURE)
        connection.ask(login("bob", "two words "), FAILURE)
        connection.ask(login("bob", "two  words "), b"STORED\r\n")


@pytest.mark.parametrize("make", [
    lambda: hashed("secret"),
    lambda: crypt("secret", "$5$rounds=1000$Oy.kSVHyyTzFCfgB$"),
    lambda: crypt("secret", "$2b$04$Oy.kSVHyyTzFCfgB1uBOu."),
    lambda: crypt("secret", "$y$j75$Oy.kSVHyyTzFCfgB1uBOu1"),
], ids=["sha512", "sha256", "bcrypt", "yescrypt"])
def test_hashed_passwords_are_taken_with_what_is_pipelined_behind(make):
    """The requests behind the login wait for the verdict, and are answered after it, in order."""
    with Guarded(f"other:{hashed('x', 1000)}\nbob:{make()}\n") as server:
        assert "plain text" not in server.log
        refused = FAILURE + UNAUTHENTICATED * 2
        admitted = b"STORED\r\nSTORED\r\nVALUE a 0 1\r\nv\r\nEND\r\n"
        for password, after in [("wrong", refused), ("secret", admitted)] * 2:
            with server.connect("sessions") as connection:
                connection.send(b"get a\r\n" + login("bob", password)
                                + b"add a 0 0 1\r\nv\r\nget a\r\n")
                connection.expect(UNAUTHENTICATED + after)
                if password == "secret":
                    connection.ask(b"delete a\r\n", b"DELETED\r\n")


def test_a_long_pipeline_behind_a_slow_login_waits_and_is_answered_whole():
    with Guarded(f"bob:{SLOW}\n") as server, server.connect("sessions") as connection:
        requests = b"".join(b"set k%d 0 0 100\r\n%b\r\n" % (i, b"x" * 100) for i in range(20_000))
        sender = threading.Thread(target=connection.send, args=(login() + requests + b"mn\r\n",))
        sender.start()
        connection.expect(b"STORED\r\n" * 20_001 + b"MN\r\n")
        sender.join()


def test_plain_passwords_are_warned_about():
    with Guarded(f"bob:secret\nann:{hashed('x', 1000)}\n") as server:
        assert "1 of 2 passwords are plain text" in server.log
        for _ in range(2):
            with server.connect("sessions") as connection:
                connection.ask(login("ann", "x"), b"STORED\r\n")
                connection.expect_in_step()


def test_who_has_logged_in_once_pays_for_the_hash_once():
    """A PHP site logs in again for each request."""
    with Guarded(f"bob:{SLOW}\n") as server:
        begun = time.monotonic()
        with server.connect("sessions") as connection:
            connection.ask(login(), b"STORED\r\n")
        first = time.monotonic() - begun
        begun = time.monotonic()
        for _ in range(50):
            with server.connect("sessions") as connection:
                connection.ask(login(), b"STORED\r\n")
        assert (time.monotonic() - begun) / 50 < first / 5
        server.reload()  # a password is known only for the file that was read
        begun = time.monotonic()
        with server.connect("sessions") as connection:
            connection.ask(login(), b"STORED\r\n")
        assert time.monotonic() - begun > first / 5


def test_who_does_not_log_in_is_closed_and_who_has_is_not():
    """A client without a login is disconnected, whether it sends commands or guesses passwords."""
    with Guarded(f"bob:{SLOW}\nann:plain\n", server={"send_timeout": "1s"}) as server:
        with (server.connect("cache") as open_to_all, server.connect("sessions") as ann,
              server.connect("sessions") as bob):
            ann.ask(login("ann", "plain"), b"STORED\r\n")
            bob.ask(login(), b"STORED\r\n")
            silent, asking = server.connect("sessions"), server.connect("sessions")
            guessing = server.connect("sessions")
            guessing.send(login("ann", "wrong"))
            begun = time.monotonic()
            with pytest.raises((OSError, AssertionError), match="closed|reset|pipe"):
                while time.monotonic() - begun < 10:
                    asking.ask(b"get a\r\n" * 2000, UNAUTHENTICATED * 2000)
            silent.expect_closed()
            assert guessing.read_to_end() == FAILURE
            for welcome in (bob, ann, open_to_all):
                welcome.ask(b"mn\r\n", b"MN\r\n")


@pytest.mark.parametrize("password,answer", [("secret", b"STORED\r\n"), ("wrong", FAILURE)])
def test_the_same_login_many_times_at_once_is_one_guess(password, answer):
    """All workers of a web server log in at once after a restart of the daemon."""
    with Guarded(f"bob:{SLOW}\n") as server:
        with server.connect("sessions") as one:
            begun = time.monotonic()
            one.ask(login("bob", "another"), FAILURE)
            alone = time.monotonic() - begun
        workers = [server.connect("sessions") for _ in range(4 * BURST)]
        begun = time.monotonic()
        for worker in workers:
            worker.send(login("bob", password))
        first = workers.pop(0)  # the other workers wait for the hash of this login
        first.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        first.close()
        for worker in workers:
            worker.expect(answer)
            worker.ask(b"mn\r\n", b"MN\r\n" if password == "secret" else UNAUTHENTICATED)
        assert time.monotonic() - begun < BURST * alone


def test_a_flood_of_logins_slows_nobody_else_down():
    """A thousand wrong logins are queued or refused, while the daemon serves other clients, one of which
    logs in. The processor time of each thread shows that only the login thread computes the hashes."""
    with Guarded(f"bob:{SLOW}\nann:plain\n", server={"max_connections": 3000}) as server:
        flood = []
        for i in range(50):
            for _ in range(BURST):
                flood.append(server.connect_from(f"127.8.0.{i + 1}"))
        for i, connection in enumerate(flood):
            connection.send(login("bob", f"guess {i}"))
        with server.connect("cache") as other, server.connect("sessions") as late:
            before = thread_seconds(server.pid)
            served = 0
            while served < 300 or thread_seconds(server.pid)["auth"] - before["auth"] < 0.5:
                other.ask(b"set k 0 0 1\r\nv\r\nget k\r\n", b"STORED\r\nVALUE k 0 1\r\nv\r\nEND\r\n")
                served += 1
            late.ask(login("ann", "plain"), b"STORED\r\n")  # needs no hash, so does not wait in the queue
            after = thread_seconds(server.pid)
            spent = after["worker"] - before["worker"]
            assert spent / served < 0.001, f"{spent} s of the workers for {served} requests"
        answered = sum(1 for connection in flood if _has_answer(connection))
        assert answered < 900, "the flood was over before the others were looked at"
        begun = time.monotonic()
        server.terminate()  # with all of it queued
        assert time.monotonic() - begun < 10


def test_a_flood_from_many_addresses_leaves_room_for_those_that_are_known():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most[1] < 12_000:
        pytest.skip("needs 12,000 open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(most[0], 12_000), most[1]))
    with Guarded(f"bob:{SLOW}\neve:{SLOW}\n", server={"max_connections": 6000}) as server:
        with server.connect("sessions") as known:
            known.ask(login(), b"STORED\r\n")
        flood = []
        for i in range(4200):
            flood.append(socket.create_connection(("127.0.0.1", server.port("sessions")), 10,
                                                  (f"127.8.1.{i // BURST + 1}", 0)))
            flood[-1].sendall(login("bob", f"guess {i}"))
        assert flood[-1].recv(100) == FAILURE  # refused without a check: the queue is full
        with server.connect("sessions") as known:
            known.ask(login("eve"), b"STORED\r\n")
        for connection in flood:
            connection.close()


def _has_answer(connection):
    connection.socket.setblocking(False)
    try:
        return connection.socket.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return False


def test_an_address_that_guesses_is_refused_without_a_check_and_others_are_not(guarded):
    guesser, other = next(addresses), next(addresses)
    for i in range(BURST):
        with guarded.connect_from(guesser) as connection:
            connection.ask(login("bob", f"guess{i}"), FAILURE)
            connection.ask(b"get a\r\n", UNAUTHENTICATED)  # it may go on
    with guarded.connect_from(guesser) as connection:
        connection.ask(login(), FAILURE)  # the right password is refused too
        connection.expect_closed()
    with guarded.connect_from(other) as connection:
        connection.ask(login(), b"STORED\r\n")
        connection.expect_in_step()


def test_web_servers_behind_the_address_of_a_guesser_still_log_in(guarded):
    shared = next(addresses)
    with guarded.connect_from(shared) as connection:
        connection.ask(login(), b"STORED\r\n")
    for i in range(2 * BURST):
        with guarded.connect_from(shared) as connection:
            connection.ask(login("bob", f"guess{i}"), FAILURE)
    for _ in range(BURST):
        with guarded.connect_from(shared) as connection:
            connection.ask(login(), b"STORED\r\n")
            connection.expect_in_step()


def test_refusals_are_counted_and_logged_without_a_flood_of_lines():
    with Guarded() as server:
        for _ in range(500):
            with server.connect_from("127.5.5.5") as connection:
                connection.ask(login("bob", "hunter2"), FAILURE)
        with server.connect_from("127.5.5.6") as connection:
            connection.ask(login("typed\x1binthewrongfield", "x"), FAILURE)
            connection.ask(login("ann", "x"), FAILURE)
        others = 2

        def is_told():  # the log may have had another such line less than 0.1 s before
            nonlocal others
            if "127.5.5.6" not in server.log:
                others += 1
                with server.connect_from("127.5.5.6") as connection:
                    connection.ask(login("typed\x1binthewrongfield", "x"), FAILURE)
            return "127.5.5.6" in server.log

        wait_until(is_told)
        lines = [line for line in server.log.splitlines() if "refused from there" in line]
        assert 2 <= len(lines) <= 6
        assert "pool sessions: login of user bob from 127.5.5.5 refused" in lines[0]
        assert "hunter2" not in server.log and "secret" not in server.log
        assert "wrongfield" not in server.log
        with server.connect("sessions") as connection:
            connection.ask(login(), b"STORED\r\n")
            stats = connection.stats()
        assert int(stats["auth_errors"]) == 500 + others
        assert int(stats["auth_cmds"]) == 501 + others
        metrics = urllib.request.urlopen(server.admin_url() + "/metrics").read().decode()
        assert f'stayd_pool_auth_cmds_total{{pool="sessions"}} {501 + others}' in metrics
        assert f'stayd_pool_auth_errors_total{{pool="sessions"}} {500 + others}' in metrics


def test_sighup_reads_the_file_again_and_leaves_who_is_logged_in():
    with Guarded() as server, server.connect("sessions") as old:
        old.ask(login(), b"STORED\r\n")
        server.write(f"carl:{hashed('new', 1000)}\nbob:changed\n")
        server.reload()
        old.expect_in_step()
        with server.connect("sessions") as connection:
            connection.ask(login(), FAILURE)
            connection.ask(login("ann", "s3:cret"), FAILURE)
            connection.ask(login("carl", "new"), b"STORED\r\n")
        with server.connect("sessions") as connection:
            connection.ask(login("bob", "changed"), b"STORED\r\n")


@pytest.mark.parametrize("users, mode, said", [
    ("bob changed\n", 0o600, "users:1: no colon"),
    ("bob:changed\n", 0o644, "chmod 600"),
    ("", 0o600, "no user"),
    (None, None, "No such file"),
])
def test_a_file_with_a_fault_is_not_taken_at_sighup(users, mode, said):
    with Guarded() as server:
        if users is None:
            server.users.unlink()
        else:
            server.write(users, mode)
        server.reload()
        assert said in server.log and "stay valid" in server.log
        with server.connect("sessions") as connection:
            connection.ask(login("bob", "changed"), FAILURE)
            connection.ask(login(), b"STORED\r\n")


@pytest.mark.parametrize("users, mode, said", [
    ("bob:x\nnonsense\nbob:y\n", 0o600, ["users:2: no colon", "users:3: user bob"]),
    ("bob:x\n", 0o640, ["0640", "chmod 600"]),
    ("bob:$6$cut\n", 0o600, ["users:1:"]),
])
def test_a_file_with_a_fault_is_named_at_start_and_by_check(users, mode, said):
    server = Guarded()
    try:
        server.write(users, mode)
        with pytest.raises(ServerError) as raised:
            server.start()
        done = subprocess.run([stayd_binary(), "--check", "-c", server.config_path],
                              capture_output=True, text=True)
        assert done.returncode == 2
        for part in said:
            assert part in str(raised.value) and part in done.stderr
    finally:
        server.close()


def test_a_file_of_another_user_is_refused_at_start():
    if os.geteuid() != 0:
        pytest.skip("nobody else can give a file away")
    server = Guarded()
    try:
        os.chown(server.users, 4242, -1)
        with pytest.raises(ServerError, match="belongs to user 4242"):
            server.start()
    finally:
        server.close()


def test_clients_that_vanish_during_the_check_are_forgotten():
    """No hash is computed for a client that has reset its connection. (An end of input is not a reset.)"""
    with Guarded(f"bob:{SLOW}\n") as server:
        for i in range(4):
            connection = server.connect_from("127.7.0.1")
            connection.send(login("bob", f"wrong{i}") + b"get a\r\n" * i)
            connection.close()
        for i in range(8 * BURST):
            connection = server.connect_from(f"127.7.1.{i // BURST + 1}")
            connection.send(login("bob", f"wrong{i}"))
            connection.reset()
        with server.connect("sessions") as connection:
            connection.ask(login(), b"STORED\r\n")
            wait_until(lambda: connection.stats()["curr_connections"] == "1")
            connection.expect_in_step()


def test_a_client_that_shuts_its_side_down_behind_the_login_gets_its_replies():
    with Guarded(f"bob:{SLOW}\n") as server, server.connect("sessions") as connection:
        connection.send(login() + b"mn\r\n")
        connection.socket.shutdown(socket.SHUT_WR)
        assert connection.read_to_end() == b"STORED\r\nMN\r\n"


def test_a_stop_during_a_check_does_not_wait_for_the_queue():
    with Guarded(f"bob:{SLOW}\n") as server:
        waiting = [server.connect("sessions") for _ in range(BURST)]
        for i, connection in enumerate(waiting):
            connection.send(login("bob", f"wrong{i}"))
        begun = time.monotonic()
        assert server.terminate() == 0
        assert time.monotonic() - begun < 8


def test_a_pool_with_an_auth_file_may_listen_to_everybody(tmp_path):
    users = tmp_path / "users"
    users.write_text("bob:x\n")
    users.chmod(0o600)
    config = tmp_path / "stayd.conf"
    text = f"[pool a]\nlisten = 0.0.0.0:{free_port()}\n"
    config.write_text(text)
    check = [stayd_binary(), "--check", "-c", str(config)]
    assert subprocess.run(check, capture_output=True).returncode == 2
    config.write_text(text + f"auth_file = {users}\n")
    assert subprocess.run(check, capture_output=True).returncode == 0
