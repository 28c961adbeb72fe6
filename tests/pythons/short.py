"""Tests what differs between Pythons: the extension's use of CPython's C API. Runs on any Python from 3.9
on, with nothing installed.

    STAYD_URL=unix:///... python tests/pythons/short.py [CLIENTS]

CLIENTS: how many clients are opened and closed. In a debug build of Python, references are counted.
Ends with exit status 0 and a line that says what ran; tests/pythons/run.py calls it.
"""

import gc
import json
import json.decoder
import os
import sys
import textwrap
import threading

import stayd
from stayd import packing
from stayd.serde import json_serde

URL = os.environ["STAYD_URL"]
CALLS = 10_000
SESSION = b'{"user":"anna","visits":12,"basket":{"kidnapped":2}}'
KEY = "k" * 32
CHILD_OF_AN_INTERPRETER = textwrap.dedent(
    f"""
    import stayd
    with stayd.Client({URL!r}) as client:
        client.set("inner", b"1")
        assert client.get("inner") == b"1" and client.backend == "native"
    """
)
ran: list = []


def expect(error, call, *arguments):
    """The call raises this."""
    try:
        call(*arguments)
    except error:
        return
    raise AssertionError(f"{call} with {arguments} raised no {error}")


def use(client, scan):
    """Each kind of request, successes and failures."""
    client.set("k", {"a": [1, 2.5, None], "text": "ä"}, 100)
    assert client.get("k") == client.get_mapped("k", None) == {"a": [1, 2.5, None], "text": "ä"}
    value, number = client.gets("k")
    assert client.cas("k", value, number) is True and client.cas("k", 1, number) is False
    assert client.set_many({"x": 1, "y": "two"}) == []
    assert client.get_many(["x", "y", "absent"]) == {"x": 1, "y": "two"}
    assert client.incr("x", 2) == 3 and client.incr("absent") is None
    client.delete_many(["x", "y"])
    assert client.get("x", "default") == client.get_mapped("x", "default") == "default"
    assert client.add("k", 1) is False and client.replace("absent", 1) is False
    assert client.touch("k", 50) is True and client.delete("absent") is False
    expect(stayd.InvalidKey, client.get, "two words")
    expect(TypeError, client.set, "k", object())
    expect(TypeError, client.get)
    session = client.get_session(packing.sessions_1(), scan, KEY)
    assert session is None or session[0]["user"] == "anna"


def store_session():
    from stayd.client import extension

    with stayd.Client(URL) as client:
        name = extension.session_name(KEY)
        client.set(name, packing.pack(SESSION))
        assert packing.unpack(client.get(name)) == SESSION
        scan = json.decoder.JSONDecoder().scan_once
        found, number = client.get_session(packing.sessions_1(), scan, KEY)
        assert found == {"user": "anna", "visits": 12, "basket": {"kidnapped": 2}} and number
        assert client.get_session(packing.sessions_1(), None, KEY) == (SESSION, number)
        client.set(name, b"\x01damaged")
        assert client.get_session(packing.sessions_1(), scan, KEY) is None
        client.set(name, packing.pack(SESSION))
        return scan


def test_references(client, scan):
    """In a debug build no request keeps a reference."""
    if not hasattr(sys, "gettotalrefcount"):
        return
    grown = []
    for _ in range(3):  # the first round also fills the interpreter's caches
        gc.collect()
        before = sys.gettotalrefcount()
        for _ in range(CALLS // 20):
            use(client, scan)
        for _ in range(CALLS):
            client.get("k")
            client.get_session(packing.sessions_1(), scan, KEY)
        gc.collect()
        grown.append(sys.gettotalrefcount() - before)
    assert min(grown) < 100, f"references grew by {grown} in {CALLS} calls"
    ran.append(f"references grew by {min(grown)} in {CALLS} loads")


def test_threads(scan):
    """Threads share a client, its buffer and a Packing; without a GIL they run at once."""
    failures = []
    with stayd.Client(URL, serde=json_serde) as client:

        def work(number):
            try:
                data = json.dumps({str(number): "x" * number * 100}).encode()
                for _ in range(300):
                    client.set(f"t{number}", {"n": number, "filler": "y" * 500 * number})
                    assert client.get(f"t{number}")["n"] == number
                    assert packing.unpack(packing.pack(data)) == data
                    assert client.get_session(packing.sessions_1(), scan, KEY)[0]["user"] == "anna"
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 7)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures, failures
    ran.append("threads")


def test_interpreters():
    """Each interpreter has a module of its own, with its own GIL where Python has that."""
    try:
        from concurrent import interpreters
    except ImportError:
        interpreters = None
    if interpreters is not None:
        for _ in range(3):
            inner = interpreters.create()
            inner.exec(CHILD_OF_AN_INTERPRETER)
            inner.close()
        ran.append("interpreters, each with its own GIL")
        return
    try:
        import _interpreters as low
    except ImportError:
        try:
            import _xxsubinterpreters as low
        except ImportError:
            return
    for _ in range(3):
        number = low.create()
        wrong = low.run_string(number, CHILD_OF_AN_INTERPRETER)
        assert wrong is None, wrong
        low.destroy(number)
    ran.append("interpreters")


def test_clients(count):
    """Clients that are opened and closed leave no descriptor and no memory."""

    def open_and_close(count):
        for _ in range(count):
            with stayd.Client(URL, serde=json_serde) as client:
                client.get("k")
                client.get_many(["k", "absent"])
        gc.collect()

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    open_and_close(count // 10)
    descriptors, before = len(os.listdir("/proc/self/fd")), resident()
    open_and_close(count)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    grown = resident() - before
    assert grown < 4 << 20, f"{grown} bytes more after {count} clients"
    ran.append(f"{count} clients")


def main():
    assert stayd.Client.backend == "native", stayd.client.WITHOUT_EXTENSION
    scan = store_session()
    with stayd.Client(URL, serde=json_serde) as client:
        use(client, scan)
        ran.append("requests")
        test_references(client, scan)
    test_threads(scan)
    test_interpreters()
    if len(sys.argv) > 1:
        test_clients(int(sys.argv[1]))
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    print(f"{sys.version.split()[0]}{'' if gil else ', no GIL'}: {'; '.join(ran)}")


if __name__ == "__main__":
    main()
