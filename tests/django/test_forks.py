"""One client in many processes: no two of them share a connection, however they were forked."""

import ctypes
import importlib.util
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
import stayd
from support.servers import free_port, wait_until

pytestmark = pytest.mark.each_backend

HERE = pathlib.Path(__file__).parent
ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join([str(HERE), str(pathlib.Path(stayd.__file__).parents[1])]),
    "PYTHONDONTWRITEBYTECODE": "1",
    "EVENTLET_NO_GREENDNS": "yes",  # importing greendns takes seconds
}


def fork_unseen():
    """Forks as a server written in C does: none of Python's hooks run."""
    return ctypes.PyDLL(None).fork()


def in_child(work, fork=fork_unseen):
    """Calls `work` in a child; True if it returned something true there."""
    pid = fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.fixture
def client(daemon):
    with stayd.Client(daemon.url("sessions")) as client:
        client.set("k", b"1")
        assert client.get("k") == b"1"  # the native client has mapped the pool by now
        yield client


def use(client):
    """Uses a connection, and reads back what it wrote."""
    client.set("k", b"1")
    return client.get("k") == b"1"


def test_a_fork_that_python_does_not_see_is_noticed_at_the_next_use(daemon, client):
    counter = daemon.connect("sessions")
    before = int(counter.stats()["total_connections"])
    assert in_child(lambda: use(client) and use(client))
    assert int(counter.stats()["total_connections"]) == before + 1
    assert use(client)
    assert int(counter.stats()["total_connections"]) == before + 1


def test_a_child_of_a_child_has_connections_of_its_own_too(daemon, client):
    counter = daemon.connect("sessions")
    before = int(counter.stats()["total_connections"])
    assert in_child(lambda: use(client) and in_child(lambda: use(client)))
    assert int(counter.stats()["total_connections"]) == before + 2


@pytest.mark.usefixtures("inside_pymemcache")
def test_a_child_closes_its_ends_of_the_parents_connections_and_says_nothing_on_them():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with stayd.Client(f"memcached://127.0.0.1:{listener.getsockname()[1]}/") as client:
            idle, used = client._connections.take(), client._connections.take()
            for each in (idle, used):
                each._connect()
            client._connections.give_back(idle)
            # The child must not read a reply that is on its way: it is the parent's.
            ends = [listener.accept()[0] for _ in range(2)]
            for end in ends:
                end.sendall(b"VERSION 1\r\n")

            def closed_in_child():
                files = len(os.listdir("/proc/self/fd"))
                client.close()  # any use
                return len(os.listdir("/proc/self/fd")) == files - 2

            assert in_child(closed_in_child)
            for end in ends:
                end.setblocking(False)
                with pytest.raises(BlockingIOError):
                    end.recv(1)
            assert used.sock.recv(100) == b"VERSION 1\r\n"
            for end in ends:
                end.close()


@pytest.mark.usefixtures("inside_pymemcache")
def test_threads_that_notice_a_fork_together_get_one_set_of_connections(client):
    def work():
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda _: client._connections_here(), range(8)))
            values = list(threads.map(lambda _: client.get("k"), range(80)))
        return len(set(map(id, found))) == 1 and values == [b"1"] * 80

    assert in_child(work, os.fork)


def ask(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode()


def pids_of(command, port, daemon, tmp_path):
    """Runs a server of `forkedsite`. Sends it many requests, 8 at a time, until two processes have
    answered; returns their ids. An answer that reports an error fails the test."""
    url = f"http://127.0.0.1:{port}/"
    log = tmp_path / "server.log"
    environment = {
        **os.environ,
        **ENVIRONMENT,
        "POOL_URL": daemon.unix_url("sessions"),
    }
    with open(log, "wb") as output:
        server = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:

        def answers():
            assert server.poll() is None, log.read_text()
            try:
                return ask(url)
            except ConnectionError:
                return None
            except urllib.error.URLError as error:
                if isinstance(error.reason, ConnectionError):
                    return None
                raise

        wait_until(answers, timeout=60, what="the server's start")
        pids = set()
        with ThreadPoolExecutor(8) as threads:

            def two_have_answered():
                pids.update(threads.map(lambda _: ask(url), range(40)))
                return len(pids) > 1

            wait_until(two_have_answered, timeout=60, what="answers from two processes")
        return pids
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{error}: {error.read()!r}\n{log.read_text()}") from error
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@pytest.mark.skipif(shutil.which("uwsgi") is None, reason="uwsgi is not installed")
@pytest.mark.parametrize("threads", [1, 4])
def test_uwsgi_forks_the_application_it_has_loaded(daemon, tmp_path, threads):
    port = free_port()
    command = [
        "uwsgi", "--plugin", "python3,http", "--http-socket", f"127.0.0.1:{port}", "--master",
        "--processes", "4", "--threads", str(threads), "--die-on-term", "--need-app",
        "--wsgi-file", str(HERE / "forkedsite.py"),
    ]
    assert len(pids_of(command, port, daemon, tmp_path)) > 1


def gunicorn(port, *arguments):
    return [
        sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "2",
        "--graceful-timeout", "1", *arguments, "forkedsite:application",
    ]


def needs(module):
    """Skips where `module` is not installed."""
    missing = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(missing, reason=f"{module} is not installed")


@needs("gunicorn")
@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--worker-class", "gthread", "--threads", "4"],
        pytest.param(["--worker-class", "gevent"], marks=needs("gevent")),
        pytest.param(["--worker-class", "eventlet"], marks=needs("eventlet")),
    ],
    ids=["sync", "gthread", "gevent", "eventlet"],
)
def test_gunicorn_forks_the_application_it_has_loaded(daemon, tmp_path, arguments):
    port = free_port()
    assert len(pids_of(gunicorn(port, "--preload", *arguments), port, daemon, tmp_path)) > 1


GREEN = """
import {library}
{patch}
import socket, sys, stayd
{imports}

clients = [stayd.Client(url) for url in sys.argv[1:]]
listener = socket.create_server(("127.0.0.1", 0))

def work(number):
    client, mine = clients[number % 2], b"%d" % number
    for _ in range(20):
        client.set(mine, mine)
        assert client.get(mine) == mine
        assert client.get_many([mine, "absent"]) == {{mine: mine}}
    return True

def wait(timeout_s):
    url = "memcached://127.0.0.1:%d/" % listener.getsockname()[1]
    with stayd.Client(url, timeout_s=timeout_s) as silent:
        try:
            silent.get("k")
        except stayd.ConnectionError as error:
            assert "within 0.1 s" in str(error), error
            return "timed out"

{run}
print("all right,", wait(0.1))
"""

GREEN_WORLDS = {
    "gevent": {
        "library": "gevent.monkey",
        "patch": "gevent.monkey.patch_all()",
        "imports": "import gevent",
        "run": """
silent = gevent.spawn(wait, 60)
gevent.sleep(0)
gevent.joinall([gevent.spawn(work, number) for number in range(10)], raise_error=True)
assert not silent.ready(), "it was waited for"
silent.kill()
""",
    },
    "eventlet": {
        "library": "eventlet",
        "patch": "eventlet.monkey_patch()",
        "imports": "",
        "run": """
silent = eventlet.spawn(wait, 60)
eventlet.sleep(0)
jobs = [eventlet.spawn(work, number) for number in range(10)]
assert all(job.wait() for job in jobs)
assert not silent.dead, "it was waited for"
silent.kill()
""",
    },
}


@pytest.mark.parametrize(
    "library", [pytest.param(name, marks=needs(name)) for name in GREEN_WORLDS]
)
def test_green_threads_share_one_client_and_none_holds_up_the_others(daemon, library):
    """Over TCP and over the Unix socket."""
    done = subprocess.run(
        [sys.executable, "-B", "-W", "ignore", "-c", GREEN.format(**GREEN_WORLDS[library]),
         daemon.url("sessions"), daemon.unix_url("sessions")],
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "all right, timed out\n"
