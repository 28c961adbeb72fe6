"""The rows of the fault matrix about hostile clients: each kind of support/hostile.py attacks one
pool, and no other client is affected."""

import struct
import time
import urllib.request

import pytest

from support import certificates
from support.fault_matrix import COLUMNS, Fault, expect_agreement, table, try_rows
from support.filling import store_many
from support.hostile import Attack
from support.servers import wait_until


class Hostile(Fault):
    """Attacks from `inject` to `lift`, through stop and start."""

    attack = None
    pool = "cache"
    seconds = 1.0

    def __init__(self):
        super().__init__()
        self._attack = None

    def port(self):
        return self.stayd.port(self.pool)

    def inject(self):
        if self._attack is None:
            self._attack = Attack(self.attack, self.port())
            self._attack.__enter__()

    def also(self):
        time.sleep(self.seconds)  # how long bystanders measure their waits

    def lift(self):
        if self._attack is not None:
            self._attack.__exit__()
            self._attack = None


class TlsPool(Hostile):
    """An attack on a pool with TLS, or with its certificates."""

    pool = "far"

    def daemon(self):
        made = certificates.make(self.folder)
        self.pools = {"far": {"memory": "16M", "tls_cert": made["server.pem"],
                              "tls_key": made["server.key"]}}
        return super().daemon()


class KeyUpdates(TlsPool):
    name = "KeyUpdate flood"
    attack = "key_updates"


class Handshakes(TlsPool):
    name = "TLS handshake flood"
    attack = "handshakes"


class Certificates(TlsPool):
    name = "refresh_certs storm"
    attack = "certificates"
    pool = "cache"


class Drip(Hostile):
    name = "large sets that never end"
    attack = "drip"
    server = {"connection_memory": "64M", "send_timeout": "5s"}
    sessions = {"item_max": "1M", "memory": "64M"}
    value = b"v" * 300_000


class Dumps(Hostile):
    name = "metadump storm"
    attack = "dumps"
    cache = {"memory": "64M"}

    def prepare(self):
        with self.stayd.connect("cache") as connection:
            store_many(connection, 20_000, b"d")


class Hoard(Hostile):
    name = "connections hoarded"
    attack = "hoard"
    server = {"max_connections": 50}

    def daemon(self):
        """The daemon counts as started when it answers in the other pool: this pool is full of
        connections."""
        stayd = super().daemon()
        port = stayd.port("sessions")
        stayd._addresses = lambda: [("127.0.0.1", port), stayd.socket("sessions")]
        return stayd


class LoginPool(Hostile):
    """An attack on a pool that asks for logins."""

    pool = "guarded"
    server = {"send_timeout": "2s"}

    def daemon(self):
        users = self.folder / "users"
        users.write_text("bob:secret\n")
        users.chmod(0o600)
        self.pools = {"guarded": {"memory": "16M", "auth_file": users}}
        return super().daemon()


class Errors(LoginPool):
    name = "strangers who read errors"
    attack = "errors"

    def also(self):
        wait_until(lambda: self._attack.closed >= 4, timeout=15, what="the end of the strangers")


class Passwords(LoginPool):
    name = "wrong logins"
    attack = "passwords"


class Http(Hostile):
    name = "half HTTP requests"
    attack = "http"

    def port(self):
        return self.stayd.admin_url().rsplit(":", 1)[1]

    def also(self):
        """The admin page answers at once, before the daemon closes a silent client."""
        urllib.request.urlopen(self.stayd.admin_url() + "/healthz", timeout=6).close()


class Touches(Hostile):
    name = "touch storm on a large item"
    attack = "touches"
    pool = "sessions"
    sessions = {"memory": "128M", "item_max": "2M"}


class Lookalikes(Fault):
    """Values whose bytes look like the headers of records."""

    name = "values that look like records"
    sessions = {"memory": "64M", "item_max": "1M", "fsync": "no"}

    def inject(self):
        if self.stayd.process is None or self.stayd.process.poll() is not None:
            return
        pattern = struct.pack("<IHBB", 1, 0, 0x01, 0)
        with self.stayd.connect("sessions") as connection:
            for number in range(40):
                connection.set(b"item-%03d" % (number % 20), pattern * 100_000)


FAULTS = {fault.name: fault for fault in (
    KeyUpdates, Handshakes, Certificates, Drip, Dumps, Hoard, Errors, Passwords, Http, Touches,
    Lookalikes) if fault.name in table()}


@pytest.fixture(scope="module")
def rows(request):
    """The results of all rows that the tests of this module need. Few rows run at a time, since each
    attack takes a whole processor."""
    return try_rows(request, FAULTS, at_once=3)


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("name", FAULTS)
def test_under_attack_a_client_sees_what_the_table_says(rows, name, column):
    expect_agreement(rows, name, column)
