"""libstayd reads a pool from its memory: without the daemon, and never an outdated value."""

import contextlib
import os
import pathlib
import socket
import subprocess
import threading
import time

import pytest

from libstayd.programs import NOT_FOUND, NOT_MAPPED, OK, Shell
from support.servers import Memcached, Stayd, stayd_binary, wait_until


@pytest.fixture
def stayd():
    """A daemon whose pools this user may map."""
    with Stayd() as server:
        yield server


def urls(server):
    """Both pools, both ways."""
    return [server.unix_url("cache"), server.url("cache"), server.unix_url("sessions"),
            server.url("sessions")]


def requests(server, pool):
    """How many gets the daemon has seen."""
    return int(server.connect(pool).stats()["cmd_get"])


@pytest.mark.parametrize("number", range(4))
def test_what_was_stored_is_read_without_the_daemon(stayd, number):
    pool = ["cache", "cache", "sessions", "sessions"][number]
    with Shell(urls(stayd)[number]) as shell, Shell(urls(stayd)[number], "sockets") as other:
        assert shell.status("set k one") == OK
        assert shell.status("get k") == OK  # the first read asks for the mapping
        before = requests(stayd, pool)
        assert shell.ask("mapped k")[0::3] == (OK, "one")
        assert shell.ask("get k")[0::3] == (OK, "one")
        assert shell.ask("many k k")[3] == "0:one 0:one "
        assert requests(stayd, pool) == before
        assert other.status("set k two") == OK
        assert shell.ask("mapped k")[0::3] == (OK, "two")
        assert other.status("delete k") == OK
        assert shell.status("mapped k") == NOT_MAPPED
        assert shell.status("get k") == NOT_FOUND
        assert other.status("mapped k") == NOT_MAPPED


def test_a_large_value_is_read_whole(stayd):
    with Shell(stayd.unix_url("sessions")) as shell:
        assert shell.status("get k") == NOT_FOUND
        for size in (1, 1023, 1024, 3900):
            assert shell.status("set k " + "v" * size) == OK
            assert shell.ask("mapped k")[0::3] == (OK, "v" * size)


def test_many_are_read_from_memory_and_over_the_socket(stayd):
    with Shell(stayd.unix_url("sessions")) as shell:
        assert shell.status("set a A") == OK
        assert shell.status("set b B") == OK
        assert shell.ask("many a none b")[0::3] == (OK, "0:A 1: 0:B ")


def test_sessions_are_read_while_the_daemon_is_away_and_after_it_is_back(stayd):
    with Shell(stayd.unix_url("sessions")) as shell:
        assert shell.status("set k v") == OK
        assert shell.status("get k") == OK
        for end in (stayd.terminate, stayd.kill9):
            end()
            assert shell.ask("get k")[0::3] == (OK, "v")
            stayd.start()
            assert shell.ask("get k")[0::3] == (OK, "v")
            assert shell.status("set k v") == OK
            # The daemon may have a new mapping: one request notices that, and the next request uses it.
            wait_until(lambda: shell.status("get k") == shell.status("mapped k") == OK,
                       what="the client to have the new mapping")


def test_a_cache_is_not_read_when_its_daemon_has_ended(stayd):
    with Shell(stayd.unix_url("cache")) as shell:
        for end in (stayd.terminate, stayd.kill9):
            assert shell.status("set k v") == OK
            wait_until(lambda: shell.status("get k") == shell.status("mapped k") == OK,
                       what="the client to have the mapping")
            end()
            assert shell.status("mapped k") == NOT_MAPPED
            stayd.start()
            assert shell.status("get k") == NOT_FOUND


def test_a_session_that_is_read_from_memory_outlives_the_idle_timeout():
    with Stayd(sessions={"idle_timeout": "3s"}) as stayd:
        with Shell(stayd.unix_url("sessions")) as shell:
            assert shell.status("set read v") == shell.status("set idle v") == OK
            begun = read = time.time()
            reads = 0
            while time.time() < begun + 4.2:
                if shell.status("get read") != OK:
                    if time.time() - read >= 2:
                        pytest.skip("the machine stood still")
                    pytest.fail("a session that is read must not go")
                read = time.time()
                reads += 1
                time.sleep(0.05)  # the pace at which the reader reads, not a wait for a condition
            assert requests(stayd, "sessions") < reads
            assert shell.status("get idle") == NOT_FOUND


def test_a_child_reads_what_its_parent_has_mapped(stayd):
    with Shell(stayd.unix_url("sessions")) as shell:
        assert shell.status("set k v") == OK
        assert shell.status("get k") == OK
        shell.begin("fork")
        assert shell.end()[0] == OK  # in the child
        assert shell.ask("mapped k")[0::3] == (OK, "v")
        assert shell.status("set k w") == OK
        shell.begin("exit")
        assert shell.end()[0] == OK  # in the parent
        assert shell.ask("mapped k")[0::3] == (OK, "w")


def test_who_may_not_map_asks_over_the_socket():
    with Stayd(sessions={"readers": "none"}) as stayd, Memcached(unix=True) as memcached:
        for url in (stayd.unix_url("sessions"), memcached.socket()):
            with Shell(url) as shell:
                assert shell.status("set k v") == OK
                assert shell.status("get k") == OK
                assert shell.status("mapped k") == NOT_MAPPED
                assert shell.ask("get k")[3] == "v"


class Front:
    """Forwards connections to the daemon's TCP port. The first `outdated` answers to `stayd_map` carry the
    index_id of an earlier daemon, as if the daemon had restarted since."""

    def __init__(self, server, pool, outdated):
        self._server, self._pool, self.outdated = server, pool, outdated
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = "memcached://127.0.0.1:%d/" % self._listening.getsockname()[1]
        self._sockets = [self._listening]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                daemon = socket.create_connection(("127.0.0.1", self._server.port(self._pool)))
                self._sockets += [client, daemon]
                for pair in ((client, daemon), (daemon, client)):
                    threading.Thread(target=self._copy, args=pair, daemon=True).start()

    def _copy(self, source, target):
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                if piece.startswith(b"PATH ") and self.outdated > 0:
                    self.outdated -= 1
                    piece = b"PATH 1 " + piece.split(b" ", 2)[2]
                target.sendall(piece)


def test_a_restart_between_both_questions_delays_the_mapping_by_one_read(stayd):
    for outdated in (1, 2):
        with Front(stayd, "sessions", outdated) as front, Shell(front.url) as shell:
            assert shell.status("set k v") == OK
            assert shell.status("get k") == OK and shell.status("mapped k") == NOT_MAPPED
            assert shell.status("get k") == OK  # asks again
            assert shell.status("mapped k") == (OK if outdated == 1 else NOT_MAPPED)
            assert front.outdated == 0
            assert shell.status("get k") == OK  # after two, the daemon is left alone for a minute
            assert shell.status("mapped k") == (OK if outdated == 1 else NOT_MAPPED)


def test_sessions_that_were_moved_away_are_not_read_once_another_daemon_serves(stayd):
    """No mark in the old file or the old index can show that: both were moved to a place that the new
    daemon does not know."""
    with Shell(stayd.unix_url("sessions")) as shell:
        assert shell.status("set k v") == OK
        assert shell.ask("get k")[0::3] == (OK, "v")
        assert shell.ask("mapped k")[0::3] == (OK, "v")
        stayd.terminate()
        assert shell.ask("mapped k")[0::3] == (OK, "v")
        stayd.data_file("sessions").rename(stayd.directory / "moved.pool")
        (stayd.run_dir / "sessions.index").rename(stayd.directory / "moved.index")
        stayd.start()
        wait_until(lambda: shell.status("get k") == NOT_FOUND, what="the client to look again")
        assert shell.status("set k new") == OK
        wait_until(lambda: shell.status("get k") == shell.status("mapped k") == OK,
                   what="the client to have the new mapping")


def test_another_daemons_pool_at_the_path_that_is_told_is_not_mapped(stayd):
    """A client of a tunnel is on another machine, where another daemon has a socket at this path."""
    with Stayd() as other:
        other.connect("cache").set(b"k", b"wrong")
        stayd.connect("cache").set(b"k", b"right")
        os.replace(other.socket("cache"), stayd.socket("cache"))
        with Shell(stayd.url("cache")) as shell:
            for _ in range(2):
                assert shell.ask("get k")[0::3] == (OK, "right")
            assert shell.status("mapped k") == NOT_MAPPED


def test_a_restore_ends_the_reads_of_what_it_replaces(stayd, tmp_path):
    stayctl = [pathlib.Path(stayd_binary()).with_name("stayctl").resolve(), "-c", stayd.config_path]
    with Shell(stayd.unix_url("sessions")) as shell:
        assert shell.status("set k v") == OK
        subprocess.run([*stayctl, "backup", "sessions", tmp_path / "copy"], check=True)
        assert shell.status("delete k") == OK
        assert shell.status("set other v") == OK
        assert shell.ask("get other")[0::3] == (OK, "v")
        stayd.terminate()
        (stayd.run_dir / "sessions.index").unlink()  # without the index, restore cannot leave a mark in it
        assert shell.ask("mapped other")[0::3] == (OK, "v")
        subprocess.run([*stayctl, "restore", tmp_path / "copy", "sessions", "--yes"], check=True)
        assert shell.status("mapped other") == NOT_MAPPED
        stayd.start()
        assert shell.status("get other") == NOT_FOUND
        assert shell.ask("get k")[0::3] == (OK, "v")
