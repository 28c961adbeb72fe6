"""One client of libstayd in many threads, and on both sides of forks."""

import subprocess

import pytest

from libstayd.programs import OK, Shell, is_sanitized, program, run
from support.servers import Memcached, Stayd, wait_until


@pytest.fixture(scope="module")
def servers(made):
    """URLs by kind."""
    tls = {"tls_cert": made["server.pem"], "tls_key": made["server.key"]}
    with Memcached() as memcached, Stayd(cache=tls) as stayd:
        yield {
            "memcached": memcached.url(),
            "unix": stayd.unix_url("sessions"),
            "two": f"{memcached.url()},{stayd.url('sessions')}",
            "tls": f"memcacheds://localhost:{stayd.port('cache')}/?ca={made['ca.pem']}",
        }


KINDS = ["memcached", "unix", "two", "tls"]


@pytest.mark.parametrize("kind", KINDS)
def test_threads_share_a_client(servers, kind):
    run("stress", servers[kind], 16, 100)


@pytest.mark.skipif(is_sanitized(), reason="sanitizers' own locks do not survive such a fork")
@pytest.mark.parametrize("kind", KINDS)
def test_children_use_the_client_while_threads_of_the_parent_do(servers, kind):
    run("stress", servers[kind], 4, 200, "fork")


@pytest.mark.parametrize("kind", KINDS)
def test_children_that_the_c_library_does_not_see_use_it(servers, kind):
    run("stress", servers[kind], 1, 20, "syscall")


@pytest.mark.parametrize("local", [True, False])
def test_a_session_is_never_missing_while_the_daemon_comes_and_goes(local):
    """Threads read the item from the pool's memory, and over the socket in between."""
    with Stayd() as stayd:
        url = stayd.unix_url("sessions") if local else stayd.url("sessions")
        process = subprocess.Popen([program("stress"), url, "8", "0", "read"], text=True,
                                   stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_until(lambda: stayd.connect("sessions").get(b"steady"), what="the threads to begin")
        for end in (stayd.kill9, stayd.terminate, stayd.kill9, stayd.kill9):
            end()
            stayd.start()
        _, complaints = process.communicate(timeout=60)
        assert process.returncode == 0, complaints


@pytest.mark.parametrize("how", ["fork", "fork unseen"])
@pytest.mark.parametrize("tls", [False, True])
def test_a_child_has_connections_of_its_own_and_its_parents_goes_on(made, tls, how):
    """The child sends nothing on its parent's connections, and no close_notify."""
    keys = {"tls_cert": made["server.pem"], "tls_key": made["server.key"]} if tls else {}
    with Stayd(cache=keys) as stayd, stayd.connect_socket("cache") as observer:
        url = f"memcacheds://localhost:{stayd.port('cache')}/?ca={made['ca.pem']}" if tls else stayd.url()

        def count():
            return int(observer.stats()["total_connections"])

        with Shell(url, "sockets") as shell:
            assert shell.status("set k parent") == OK
            before = count()
            shell.begin(how)
            assert shell.end()[0] == OK  # in the child
            for _ in range(3):
                assert shell.ask("get k")[3] == "parent"
            assert count() == before + 1
            shell.begin("exit")
            assert shell.end()[0] == OK  # in the parent
            for _ in range(3):
                assert shell.ask("get k")[3] == "parent"
            assert count() == before + 1
