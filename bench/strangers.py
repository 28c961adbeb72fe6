"""What the entry `bystander` does to the daemon as a hostile client, as
tests/operation/test_hostile_matrix.py does.

Each function returns a round's wait in milliseconds for each round. Each daemon has one worker
thread, which serves the bystanders too.
"""

import contextlib
import tempfile
import time

from support import certificates
from support.bystander import Bystander, readers
from support.filling import store_many
from support.gate import memory_folder
from support.hostile import Attack
from support.hostile_tls import HostileTls
from support.servers import Stayd
from waits import expect

HONEST_BYTES = 300_000
REFRESHING_CLIENTS = 30
REFRESHES = 100  # of each of these clients


def _rounds(bench):
    return bench.pick(5, 3, 1)


def _attacked(bench, waits, bystanders, *attack):
    """The waits while an attack of tests/support/hostile.py begins and goes on."""
    seconds = bench.pick(5, 1, 0.1)

    def work():
        with Attack(*attack):
            time.sleep(seconds)  # the time to measure

    return [waits.during(work, bystanders) for _ in range(_rounds(bench))]


@contextlib.contextmanager
def _with_tls(bench):
    """A daemon whose cache pool speaks TLS."""
    with tempfile.TemporaryDirectory(prefix="stayd-bench-") as folder:
        made = certificates.make(folder)
        tls = {"tls_cert": made["server.pem"], "tls_key": made["server.key"]}
        with Stayd(cache=tls, server={"threads": 1}, binary=bench.stayd_binary) as stayd:
            yield stayd


def key_updates(bench, waits):
    """TLS 1.3 KeyUpdate records before any request, 8 MB of them in a full run. They are made before,
    and then sent at once."""
    count = bench.pick(300_000, 20_000, 100)
    found = []
    with _with_tls(bench) as stayd:
        for _ in range(_rounds(bench)):
            with HostileTls(("127.0.0.1", stayd.port("cache"))) as client:
                records = client.key_updates(count)

                def work():
                    client.flood(records)
                    expect(client.is_closed(), "a flood of KeyUpdate records ends the connection")

                found.append(waits.during(work, readers(stayd, ["sessions"])))
    return found


def certificate_reloads(bench, waits):
    """3,000 times refresh_certs. The requests share reloads: the work ends when a few are done."""
    reloads = bench.pick(20, 10, 1)

    with _with_tls(bench) as stayd:

        def work():
            with contextlib.ExitStack() as stack:
                clients = [stack.enter_context(stayd.connect("sessions"))
                           for _ in range(REFRESHING_CLIENTS)]
                for client in clients:
                    client.send(b"refresh_certs\r\n" * REFRESHES)
                for client in clients:
                    client.expect(b"OK\r\n" * reloads, timeout=60)

        return [waits.during(work, readers(stayd, ["sessions"])) for _ in range(_rounds(bench))]


def endless_sets(bench, waits):
    """67 connections send large sets a byte at a time. The bystanders store large values too, and
    those that are refused try again."""
    settings = {"threads": 1, "connection_memory": "64M", "send_timeout": "5s"}
    with Stayd(server=settings, binary=bench.stayd_binary, parent=memory_folder()) as stayd:
        honest = [Bystander(stayd.socket(pool), f"set {HONEST_BYTES}") for pool in ("cache", "sessions")]
        return _attacked(bench, waits, honest, "drip", stayd.port("cache"))


def dumps(bench, waits):
    """200 clients list all items."""
    with Stayd(cache={"memory": "128M"}, server={"threads": 1}, binary=bench.stayd_binary) as stayd:
        with stayd.connect("cache") as connection:
            store_many(connection, bench.pick(200_000, 200_000, 1000), b"dumped-")
        return _attacked(bench, waits, readers(stayd), "dumps", stayd.port("cache"), 200)


def half_requests(bench, waits):
    """40 connections to the admin port send half a request. The bystander is a health check."""
    with Stayd(server={"threads": 1}, binary=bench.stayd_binary) as stayd:
        address = stayd.admin_url().removeprefix("http://")
        port = address.rsplit(":", 1)[1]
        return _attacked(bench, waits, [Bystander(address, "healthz")], "http", port)
