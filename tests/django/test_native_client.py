"""Faults that only the client over libstayd could have: the GIL, signals, memory and
descriptors."""

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import stayd
from stayd import client as client_module
from stayd.serde import json_serde

if client_module.extension is None:
    pytest.skip(f"stayd._client: {client_module.WITHOUT_EXTENSION}", allow_module_level=True)


@pytest.fixture
def silent():
    """The URL of a listener that takes connections into its queue and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"memcached://127.0.0.1:{listener.getsockname()[1]}/?timeout=0.5"


class Interrupt(BaseException):
    """Like KeyboardInterrupt."""


def test_this_process_has_the_native_client(daemon):
    assert stayd.Client.backend == "native"
    with stayd.Client(daemon.url("cache")) as client:
        assert client.backend == "native" and isinstance(client, stayd.Client)


def test_the_environment_chooses_the_back_end(daemon):
    for name in ("native", "pymemcache"):
        assert _in_process("print(stayd.Client(URL).backend)", daemon, STAYD_CLIENT=name) == name
    with pytest.raises(subprocess.CalledProcessError):
        _in_process("stayd.Client(URL)", daemon, STAYD_CLIENT="none")


@pytest.mark.parametrize(
    "patch",
    ["import gevent.monkey; gevent.monkey.patch_all()", "import eventlet; eventlet.monkey_patch()"],
)
def test_greenlets_get_a_client_that_lets_others_run(daemon, patch):
    program = f"{patch}\nimport stayd\nprint(stayd.Client(URL).backend)"
    assert _in_process(program, daemon, EVENTLET_NO_GREENDNS="yes") == "pymemcache"


def test_other_threads_run_while_a_request_waits(silent):
    with stayd.Client(silent) as client:

        def wait():
            with pytest.raises(stayd.Error):
                client.get("k")

        waiting = threading.Thread(target=wait)
        waiting.start()
        steps = 0
        while waiting.is_alive():
            steps += 1
            time.sleep(0.001)
        waiting.join()
    assert steps > 50  # the count would be 1 if the client held the GIL


def test_a_signal_s_exception_ends_a_wait_and_leaves_no_answer_to_the_next(daemon, silent):
    armed = True

    def interrupt(*_):
        nonlocal armed
        if armed:
            armed = False
            raise Interrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with stayd.Client(silent.replace("0.5", "30")) as client:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            begun = time.monotonic()
            with pytest.raises(Interrupt):
                client.get("k")
            assert time.monotonic() - begun < 10
        with stayd.Client(daemon.url("cache")) as client:
            client.set("k", b"1")
            for _ in range(200):
                try:
                    armed = True
                    signal.setitimer(signal.ITIMER_REAL, 0.0002)
                    for number in range(50):
                        assert client.get("absent%d" % number) is None
                    armed = False
                except Interrupt:
                    pass
                assert client.get("k") == b"1"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_ten_thousand_clients_leave_no_descriptor_and_no_memory(daemon):
    def open_and_close(count):
        for _ in range(count):
            with stayd.Client(daemon.unix_url("cache"), serde=json_serde) as client:
                client.set("k", {"a": [1, 2, 3]})
                client.get("k")
                client.get_many(["k", "absent"])
        gc.collect()

    open_and_close(500)
    descriptors, resident = len(os.listdir("/proc/self/fd")), _resident_bytes()
    open_and_close(9500)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert _resident_bytes() - resident < 4 << 20  # 430 bytes a client


def test_requests_leave_no_memory(daemon):
    """Each kind of request, many times: no value, key, error or result is leaked."""

    def ask(count):
        with stayd.Client(daemon.unix_url("cache"), serde=json_serde) as client:
            for number in range(count):
                client.set("k", {"n": number})
                client.gets("k")
                client.set_many({"a": 1, "b": "x" * 1000})
                client.get_many(["a", "b", "c"])
                client.delete_many(["a", "b"])
                client.incr("absent")
                with pytest.raises(stayd.InvalidKey):
                    client.get("two words")
                with pytest.raises(TypeError):
                    client.set("k", object())
                if number % 100 == 0:
                    client.stats()

    ask(300)
    resident = _resident_bytes()
    ask(10_000)
    assert _resident_bytes() - resident < 2 << 20


@pytest.mark.parametrize(
    "arguments, options",
    [
        ((), {}),
        (("k", b"v", 1, 2), {}),
        (("k",), {"value": b"v", "wrong": 1}),
        (("k", b"v"), {"key": "k"}),
        (("k", b"v"), {"ttl_s": "soon"}),
    ],
)
def test_arguments_that_do_not_fit_are_type_errors(daemon, arguments, options):
    with stayd.Client(daemon.url("cache")) as client, pytest.raises(TypeError):
        client.set(*arguments, **options)


def test_arguments_may_be_named(daemon):
    with stayd.Client(daemon.url("cache")) as client:
        client.set(key="k", value=b"1", ttl_s=100)
        assert client.get(key="absent", default=5) == 5
        _, number = client.gets(key="k")
        assert client.cas(key="k", value=b"2", number=number, ttl_s=None) is True
        assert client.set_many(values={"a": b"1"}, ttl_s=5) == []
        assert client.incr(key="a", delta=2**64 - 1) == 0
        assert client.incr(key="a", delta=-(2**64) + 1) == 0
        with pytest.raises(OverflowError):
            client.incr(key="a", delta=2**64)


def test_a_serde_that_fails_is_the_caller_s_error(daemon):
    class Broken:
        def serialize(self, key, value):
            raise KeyError("no")

        def deserialize(self, key, data, flags):
            raise Interrupt

    with stayd.Client(daemon.url("cache")) as client:
        client.set("k", b"1")
    with stayd.Client(daemon.url("cache"), serde=Broken()) as client:
        with pytest.raises(KeyError):
            client.set("k", b"1")
        with pytest.raises(KeyError):
            client.set_many({"a": b"1"})
        with pytest.raises(Interrupt):  # no subclass of Exception, so it is not logged
            client.get("k")
        with pytest.raises(Interrupt):
            client.get_many(["k"])


def _resident_bytes():
    with open("/proc/self/statm") as numbers:
        return int(numbers.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def _in_process(program, daemon, **environment):
    """Returns what a program prints in a Python process of its own. The program may use `stayd` and URL."""
    program = program if "import stayd" in program else f"import stayd\n{program}"
    return subprocess.run(
        [sys.executable, "-c", f"URL = {daemon.url('cache')!r}\n{program}"],
        env={**os.environ, **environment}, check=True, capture_output=True, text=True,
    ).stdout.strip()


def test_a_client_that_was_not_initialized_refuses_every_request():
    """A subclass can forget to call super().__init__."""
    native = type(stayd.Client("memcached://127.0.0.1:1/"))
    raw = native.__new__(native)
    for request in (
        raw.flush, raw.version, raw.raw_stats, lambda: raw.get("k"), lambda: raw.get_many([]),
        lambda: raw.set_many({}), lambda: raw.delete_many([]), lambda: raw.delete("k"),
    ):
        with pytest.raises(RuntimeError):
            request()
    raw.close()


class Misbehaving:
    """A serde that changes its arguments, and calls the client while the client is calling it."""

    def __init__(self):
        self.client = None
        self.values = {}
        self.gives = (b"v", 0)

    def __getattr__(self, name):
        self.values.clear()
        self.client.close()
        gc.collect()
        return {"serialize": lambda key, value: self.gives,
                "deserialize": lambda key, value, flags: ...}[name]


def test_a_serde_that_misbehaves_breaks_nothing(daemon):
    serde = Misbehaving()
    with stayd.Client(daemon.url("cache"), serde=serde) as client:
        serde.client = client
        serde.values = {f"k{i}": object() for i in range(3)}
        with pytest.raises(KeyError):
            client.set_many(serde.values)
        client.set("k", 1)
        assert client.get("k") is ... and client.get_many(["k"]) == {"k": ...}
        for gives in (None, [b"v", 0], (b"v",), (b"v", "x"), (b"v", -1), (b"v", 1 << 32)):
            serde.gives = gives
            with pytest.raises((TypeError, OverflowError)):
                client.set("k", 1)
        assert client.get("k") is ...


def test_an_interrupt_while_mappings_are_asked_for_ends_the_request(silent):
    def interrupt(*_):
        raise Interrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with stayd.Client(silent + "&connect_timeout=20") as client:
            for request in (client.get, client.gets, lambda key: client.get_many([key])):
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                began = time.monotonic()
                with pytest.raises(Interrupt):
                    request("k")
                assert time.monotonic() - began < 10
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_fork_in_a_signals_handler_leaves_the_request_to_the_parent(daemon):
    program = """
import os, signal, socket, sys, threading
listener = socket.create_server(("127.0.0.1", 0))
client = stayd.Client(f"memcached://127.0.0.1:{listener.getsockname()[1]}/?timeout=20")
forked = []
go = threading.Event()
def handle(*_):
    if not forked:
        forked.append(os.fork())
        go.set()
signal.signal(signal.SIGUSR1, handle)
def serve():
    end = listener.accept()[0]
    while True:
        line = end.recv(1000)
        if line.startswith(b"set"):
            while not go.wait(0.02):  # one that comes before the wait begins does not end it
                signal.pthread_kill(main, signal.SIGUSR1)
            end.sendall(b"STORED\\r\\n")
            return
        end.sendall(b"ERROR\\r\\n")
main = threading.main_thread().ident
threading.Thread(target=serve, daemon=True).start()
try:
    client.set("k", b"v")
    ended = "stored"
except stayd.Error as error:
    ended = "error"
if forked == [0]:
    os._exit(0 if ended == "error" else 1)
print(ended, os.waitpid(forked[0], 0)[1])
"""
    assert _in_process(program, daemon) == "stored 0"


def test_another_libstayd_of_the_process_does_not_replace_the_extensions_own():
    dynamic = subprocess.run(
        ["readelf", "-d", client_module.extension.__file__], check=True, capture_output=True, text=True
    ).stdout
    assert "SYMBOLIC" in dynamic


def test_each_interpreter_of_a_process_has_the_client(daemon):
    """mod_wsgi has such interpreters: one for each site. tests/pythons/short.py tests more, on each
    Python."""
    inner = "import stayd; client = stayd.Client(URL); client.set('k', b'1'); assert client.get('k') == b'1'"
    program = f"""
import importlib
for name in ("_interpreters", "_xxsubinterpreters"):
    try:
        interpreters = importlib.import_module(name)
        break
    except ImportError:
        pass
for _ in range(3):
    number = interpreters.create()
    wrong = interpreters.run_string(number, {inner!r}.replace("URL", repr(URL)))
    assert wrong is None, wrong
    interpreters.destroy(number)
{inner}
print(client.backend)
"""
    assert _in_process(program, daemon) == "native"
