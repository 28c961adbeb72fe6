"""TLS, credentials and rights: with the right ones the cluster works, with wrong ones a host says which and
does not start."""

import itertools
import pathlib
import subprocess
import time

import pytest

from support import certificates, nats
from support.nkeys import Authority
from support.raw import wait_until
from support.servers import ROOT, Stayd
from writers import read

numbers = itertools.count()


def need_server():
    if nats.find_server() is None:
        pytest.skip("there is no nats-server: scripts/nats-server builds one")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return certificates.make(tmp_path_factory.mktemp("certificates"))


def tls(made, name="server"):
    return (f'tls {{ cert_file: "{made[name + ".pem"]}", key_file: "{made[name + ".key"]}", '
            f'ca_file: "{made["ca.pem"]}", verify: true }}')


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, made):
    """A node that speaks TLS only, and wants a certificate."""
    need_server()
    with nats.single(tmp_path_factory.mktemp("guarded"), tls(made)) as node:
        yield node


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    need_server()
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def signed(tmp_path_factory, authority):
    """A node that knows its users by their tokens."""
    with nats.single(tmp_path_factory.mktemp("signed"), authority.configuration()) as node:
        yield node


def settings(node, scheme="nats", **more):
    return {"cluster": f"{scheme}://{node.host}:{node.port}", "cluster_partitions": 2, "cluster_replicas": 1,
            "cluster_prefix": f"a{next(numbers)}", **more}


def with_certificates(made, client="client", ca="ca"):
    return {"cluster_tls_ca": made[ca + ".pem"], "cluster_tls_cert": made[client + ".pem"],
            "cluster_tls_key": made[client + ".key"]}


def stayctl(stayd, *words):
    return subprocess.run([str(ROOT / "build" / "stayctl"), "-c", str(stayd.config_path), "cluster", *words],
                          capture_output=True, text=True, timeout=60)


@pytest.fixture
def stayds():
    made = []

    def make(sessions, creates=True, **more):
        stayd = Stayd(sessions=sessions, **more)
        made.append(stayd)
        if creates:
            result = stayctl(stayd, "create")
            assert result.returncode == 0, result.stdout + result.stderr
        return stayd

    yield make
    for stayd in made:
        stayd.close()


def expect_refused(stayd, *words):
    """It does not start, and says why. Where the nodes took longer to refuse it than it waits for them, it
    goes on trying, and serves nobody."""
    with open(stayd.directory / "refused.log", "w+") as log:
        process = subprocess.Popen(stayd.command(), stdout=log, stderr=log, env=stayd.environment())
        try:
            def says_so():
                text = pathlib.Path(log.name).read_text()
                return "cannot join its cluster" in text and all(word in text for word in words)

            wait_until(says_so, 40, f"{words} in the log")
            with pytest.raises(OSError):
                stayd.connect("sessions")
        finally:
            process.terminate()
            assert process.wait(20) in (0, 1)


def store(stayd, key, value, pool="sessions"):
    with stayd.connect(pool) as raw:
        assert raw.ask(f"set {key} 0 0 {len(value)}\r\n{value}\r\n".encode()) == b"STORED"


def test_hosts_and_nodes_know_each_other_by_certificates(guarded, made, stayds):
    sessions = settings(guarded, "tls", **with_certificates(made))
    pair = [stayds(sessions), stayds(sessions)]
    for stayd in pair:
        stayd.start()
    store(pair[0], "k", "a" * 100_000)
    wait_until(lambda: read(pair[1], "k") == "a" * 100_000, what="the value on the other host")
    guarded.kill()
    guarded.start()
    with pair[0].connect("sessions", timeout=30) as raw:
        assert raw.ask(b"set k 0 0 1\r\nb\r\n") == b"STORED"
    wait_until(lambda: read(pair[1], "k") == "b", what="the value on the other host")


@pytest.mark.parametrize("client, ca, words", [
    ("client", "other-ca", "certificate"),  # the node's certificate is not of this CA
    ("stranger", "ca", "does not accept"),
    ("expired", "ca", "does not accept"),
])
def test_a_wrong_certificate_is_refused(guarded, made, stayds, client, ca, words):
    stayd = stayds(settings(guarded, "tls", **with_certificates(made, client, ca)), creates=False)
    expect_refused(stayd, "lets stayd in", words)
    assert "lets stayd in" in stayctl(stayd, "status").stdout


def test_a_host_without_a_certificate_is_refused(guarded, made, stayds):
    without = settings(guarded, "tls", cluster_tls_ca=made["ca.pem"])
    expect_refused(stayds(without, creates=False), "lets stayd in")
    expect_refused(stayds(settings(guarded), creates=False), "lets stayd in")


def test_a_node_whose_certificate_has_expired_is_refused(tmp_path, made, stayds):
    need_server()
    with nats.single(tmp_path, tls(made, "expired")) as node:
        stayd = stayds(settings(node, "tls", **with_certificates(made)), creates=False)
        expect_refused(stayd, "lets stayd in", "certificate has expired")


def test_a_node_with_the_certificate_of_another_host_is_refused(tmp_path, made, stayds):
    need_server()
    with nats.single(tmp_path, tls(made), host="127.0.0.2") as node:
        stayd = stayds(settings(node, "tls", **with_certificates(made)), creates=False)
        expect_refused(stayd, "lets stayd in", "mismatch")


def test_an_encrypted_address_never_becomes_a_plain_connection(tmp_path, made, stayds):
    need_server()
    with nats.single(tmp_path) as node:
        for scheme, more in (("tls", {}), ("nats", {"cluster_tls_ca": made["ca.pem"]})):
            expect_refused(stayds(settings(node, scheme, **more), creates=False), "lets stayd in", "ecure")


def test_files_that_are_missing_are_named(guarded, made, stayds):
    more = with_certificates(made)
    for key in more:
        wrong = {**more, key: "/nowhere/at-all.pem"}
        expect_refused(stayds(settings(guarded, "tls", **wrong), creates=False), "cannot use")
    expect_refused(stayds(settings(guarded, cluster_credentials="/nowhere/at-all.creds"), creates=False),
                   "cannot use /nowhere/at-all.creds")


def test_credentials_let_a_host_in(signed, authority, stayds):
    sessions = settings(signed, cluster_credentials=authority.credentials(f"all{next(numbers)}"))
    pair = [stayds(sessions), stayds(sessions)]
    for stayd in pair:
        stayd.start()
    store(pair[0], "k", "a")
    wait_until(lambda: read(pair[1], "k") == "a", what="the value on the other host")


def test_wrong_credentials_are_refused(signed, authority, tmp_path, stayds):
    other = Authority(tmp_path)
    expired = authority.credentials(f"expired{next(numbers)}", exp=int(time.time()) - 10)
    for path in (None, other.credentials("stranger"), expired):
        more = {"cluster_credentials": path} if path else {}
        stayd = stayds(settings(signed, **more), creates=False)
        expect_refused(stayd, "lets stayd in", "Authorization Violation")


LEAST = ["$JS.API.STREAM.INFO.*", "$JS.API.STREAM.MSG.GET.*", "$JS.API.STREAM.PURGE.*",
         "$JS.API.CONSUMER.CREATE.*", "$JS.FC.>", "{prefix}.sessions.>"]


def with_rights(authority, sessions, leaves_out=None, subscribe=("_INBOX.>",)):
    """The settings with a user who has what stayd needs, but for one right."""
    publish = [right.format(prefix=sessions["cluster_prefix"]) for right in LEAST if right != leaves_out]
    path = authority.credentials(f"user{next(numbers)}", publish=publish, subscribe=list(subscribe))
    return {**sessions, "cluster_credentials": path}


def test_the_rights_that_are_documented_are_enough(signed, authority, stayds):
    sessions = settings(signed, cluster_credentials=authority.credentials(f"all{next(numbers)}"))
    stayds(sessions)
    pair = [stayds(with_rights(authority, sessions), creates=False) for _ in range(2)]
    for stayd in pair:
        stayd.start()
    store(pair[0], "k", "a")
    wait_until(lambda: read(pair[1], "k") == "a", what="the value on the other host")
    with pair[0].connect("sessions") as raw:
        assert raw.ask(b"flush_all\r\n") == b"OK"
    wait_until(lambda: read(pair[1], "k") is None, what="the flush on the other host")
    assert "Permissions" not in pair[0].log + pair[1].log


@pytest.mark.parametrize("right", [LEAST[0], LEAST[1], LEAST[3], LEAST[5], None])
def test_a_right_that_is_missing_is_named_at_the_start(signed, authority, stayds, right):
    sessions = settings(signed, cluster_credentials=authority.credentials(f"all{next(numbers)}"))
    stayds(sessions)
    subscribe = ("_INBOX.>",) if right else ("nothing",)
    stayd = stayds(with_rights(authority, sessions, right, subscribe), creates=False)
    subject = right.format(prefix=sessions["cluster_prefix"]).rstrip("*>") if right else "_INBOX"
    expect_refused(stayd, "too few rights", "Permissions Violation", subject)


def test_an_account_without_jetstream_is_named(signed, authority, stayds):
    path = authority.credentials(f"plain{next(numbers)}", account="plain")
    stayd = stayds(settings(signed, cluster_credentials=path), creates=False)
    expect_refused(stayd, "JetStream")


def test_two_clustered_pools_of_one_daemon(tmp_path, stayds):
    """Their streams are in two clusters: one of the nodes dies, and the other pool goes on."""
    need_server()
    with nats.single(tmp_path / "a") as first, nats.single(tmp_path / "b") as second:
        common = {"persist": "yes", "evict": "no", "memory": "64M"}
        sessions, carts = settings(first), {**common, **settings(second)}
        pair = [stayds(sessions, pools={"carts": carts}) for _ in range(2)]
        for stayd in pair:
            stayd.start()
        for pool in ("sessions", "carts"):
            store(pair[0], "k", pool, pool)

        def both(stayd):
            found = []
            for pool in ("sessions", "carts"):
                with stayd.connect(pool) as raw:
                    found.append(raw.get(b"k"))
            return found

        wait_until(lambda: both(pair[1]) == [b"sessions", b"carts"], what="the values on the other host")
        first.kill()
        store(pair[0], "k", "new", "carts")
        wait_until(lambda: both(pair[1]) == [b"sessions", b"new"], what="the new value on the other host")
        with pair[0].connect("carts") as raw:
            assert raw.ask(b"flush_all\r\n") == b"OK"
        assert both(pair[0]) == [b"sessions", None]
        first.start()
        with pair[1].connect("sessions", timeout=30) as raw:
            assert raw.ask(b"set k 0 0 1\r\nb\r\n") == b"STORED"


def test_a_password_in_an_address_is_not_told(tmp_path, stayds):
    need_server()
    with nats.single(tmp_path, 'authorization { user: "host", password: "s3cret" }') as node:
        sessions = settings(node)
        good = {**sessions, "cluster": f"nats://host:s3cret@127.0.0.1:{node.port}"}
        stayd = stayds(good)
        assert "s3cret" not in stayctl(stayd, "status").stdout
        stayd.start()
        store(stayd, "k", "a")
        assert "connected to 127.0.0.1:" in stayd.log and "s3cret" not in stayd.log
        wrong = stayds({**sessions, "cluster": f"nats://host:wr0ng@127.0.0.1:{node.port}"}, creates=False)
        expect_refused(wrong, "Authorization Violation")
        assert "wr0ng" not in wrong.log


@pytest.mark.parametrize("flag", ["false", "true"])
def test_a_jetstream_domain(tmp_path, stayds, flag):
    """With the flag, which later servers have by themselves, the replies of consumers have more words."""
    need_server()
    with nats.single(tmp_path, f"feature_flags {{ js_ack_fc_v2: {flag} }}", domain="hub") as node:
        sessions = settings(node)
        pair = [stayds(sessions), stayds(sessions)]
        for stayd in pair:
            stayd.start()
        for i in range(200):
            store(pair[0], f"k{i}", "a" * 10_000)
        wait_until(lambda: read(pair[1], "k199") == "a" * 10_000, what="the value on the other host")
        fresh = stayds(sessions)
        fresh.start()
        assert read(fresh, "k7") == "a" * 10_000
