"""PHP's memcached extension as PHP's session handler, as sites use it: with locking, over the binary
protocol (its default), in the pool that evicts no session."""

import os
import pathlib
import subprocess
import threading
import urllib.request

import pytest

from support.servers import Stayd, free_port, wait_until

PROGRAM = pathlib.Path(__file__).parent / "programs" / "session.php"


class Site:
    """PHP's web server with four workers, and cookies kept by hand."""

    def __init__(self, folder, address, **settings):
        self.port = free_port()
        self.log = folder / "visits"
        self.log.touch()
        options = {"session.save_handler": "memcached", "session.save_path": address,
                   "memcached.sess_locking": "On", "memcached.sess_lock_wait_min": "20",
                   "memcached.sess_lock_wait_max": "20", "memcached.sess_lock_retries": "500",
                   **settings}
        command = ["php"]
        for name, value in options.items():
            command += ["-d", f"{name}={value}"]
        self.errors = open(folder / "php.log", "wb")
        self.process = subprocess.Popen(
            [*command, "-S", f"127.0.0.1:{self.port}", str(PROGRAM)], stdout=self.errors,
            stderr=self.errors, start_new_session=True,
            env={**os.environ, "VISITS_LOG": str(self.log), "PHP_CLI_SERVER_WORKERS": "4"})
        wait_until(self.answers, what="PHP's web server")

    def answers(self):
        try:
            self.visit()
        except OSError:
            return False
        return True

    def visit(self, session="probe", **query):
        """The page, as a visitor with this session's cookie gets it."""
        text = "&".join(f"{name}={value}" for name, value in query.items())
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/?{text}",
                                         headers={"Cookie": f"PHPSESSID={session}"})
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.read().decode()

    def visits(self):
        """What the pages logged, in order."""
        return self.log.read_text().split("\n")[:-1]

    def close(self):
        os.killpg(self.process.pid, 15)  # its own group: the server and its workers
        self.process.wait()
        self.errors.close()


@pytest.fixture(scope="module")
def stayd():
    with Stayd() as server:
        yield server


@pytest.fixture(params=["binary", "text"])
def site(request, stayd, tmp_path):
    settings = {} if request.param == "binary" else {"memcached.sess_binary_protocol": "Off"}
    stayd.connect("sessions").ask(b"flush_all\r\n", b"OK\r\n")
    made = Site(tmp_path, stayd.address("sessions"), **settings)
    yield made
    made.close()


def test_what_a_session_holds_comes_back(site):
    assert [site.visit("one") for _ in range(3)] == [f"{i} 2 000d0a80" for i in (1, 2, 3)]
    assert site.visit("two") == "1 2 000d0a80"
    assert site.visit("one", logout=1) == "out"
    assert site.visit("one") == "1 2 000d0a80"


def test_two_requests_of_one_session_go_one_after_the_other(site, stayd, tmp_path):
    """The first request holds the session until the second has been refused the lock at least twice."""
    gate = tmp_path / "gate"
    pages = {}
    first = threading.Thread(target=lambda: pages.update(a=site.visit("s", visit="a", hold=gate)))
    second = threading.Thread(target=lambda: pages.update(b=site.visit("s", visit="b")))
    first.start()
    wait_until(lambda: "enters a" in site.visits())
    with stayd.connect("sessions") as connection:
        sets = int(connection.stats()["cmd_set"])
        second.start()
        wait_until(lambda: int(connection.stats()["cmd_set"]) >= sets + 2)
    gate.touch()
    first.join()
    second.join()
    order = [visit for visit in site.visits() if visit[-2:] in (" a", " b")]
    assert order == ["asks a", "enters a", "asks b", "leaves a", "enters b", "leaves b"]
    assert {name: page[:1] for name, page in pages.items()} == {"a": "1", "b": "2"}


def test_sessions_of_others_do_not_wait(site, tmp_path):
    gate = tmp_path / "gate"
    held = threading.Thread(target=lambda: site.visit("held", visit="a", hold=gate))
    held.start()
    wait_until(lambda: "enters a" in site.visits())
    assert site.visit("other").startswith("1 ")
    gate.touch()
    held.join()


def test_sessions_outlive_a_crash_and_a_flush_of_the_cache(stayd, tmp_path):
    site = Site(tmp_path, stayd.address("sessions"))
    try:
        assert site.visit("kept").startswith("1 ")
        stayd.connect("cache").ask(b"flush_all\r\n", b"OK\r\n")
        stayd.kill9()
        stayd.start()
        assert site.visit("kept").startswith("2 ")
        stayd.restart()
        assert site.visit("kept").startswith("3 ")
    finally:
        site.close()
