"""Every command on a clustered pool: the reply is one machine's, and all hosts have the result."""

import re

import pytest

from support.raw import wait_until

PLAIN = {"evict": "no", "persist": "yes"}


def talk(host, requests, pool="sessions"):
    """Sends each request, and a `mn` behind it: returns the replies."""
    replies = []
    with host.connect(pool) as raw:
        for request in requests:
            raw.send(request + b"mn\r\n")
            replies.append(raw.read_until(b"MN\r\n")[:-4])
    return replies


def sees(host, key, reply):
    wait_until(
        lambda: talk(host, [f"get {key}\r\n".encode()])[0] == reply, what=f"{key} on the other host"
    )


def value(key, data, flags=0):
    return f"VALUE {key} {flags} {len(data)}\r\n{data}\r\nEND\r\n".encode()


STORY = [
    b"set a 5 0 5\r\nhello\r\n",
    b"get a\r\n",
    b"add a 0 0 1\r\nx\r\n",
    b"replace a 6 0 2\r\nho\r\n",
    b"get a\r\n",
    b"append a 0 0 3\r\n-to\r\n",
    b"prepend a 0 0 4\r\nhey \r\n",
    b"get a\r\n",
    b"incr a 1\r\n",
    b"set n 0 0 2\r\n10\r\n",
    b"incr n 5\r\n",
    b"decr n 20\r\n",
    b"get n\r\n",
    b"incr missing 1\r\n",
    b"decr missing 1\r\n",
    b"touch a 100\r\n",
    b"touch missing 100\r\n",
    b"gat 100 a missing n\r\n",
    b"gat 100 missing\r\n",
    b"delete a\r\n",
    b"delete a\r\n",
    b"get a\r\n",
    b"add a 1 0 3\r\nnew\r\n",
    b"get a\r\n",
    b"replace missing 0 0 1\r\nx\r\n",
    b"append missing 0 0 1\r\nx\r\n",
    b"set gone 0 -1 1\r\nx\r\n",
    b"get gone\r\n",
    b"set quiet 0 0 1 noreply\r\nq\r\n",
    b"get quiet\r\n",
    b"delete quiet noreply\r\n",
    b"get quiet\r\n",
    b"mg m v N30 t\r\n",
    b"mg m v t\r\n",
    b"ms m 3 T0 F9\r\nabc\r\n",
    b"mg m v f t s k\r\n",
    b"ms m 1 ME\r\nx\r\n",
    b"ms m 2 MA\r\nde\r\n",
    b"mg m v h\r\n",
    b"md m I T30\r\n",
    b"mg m v t\r\n",
    b"ms m 1 MR\r\nz\r\n",
    b"mg m v\r\n",
    b"md m x F3\r\n",
    b"mg m v f\r\n",
    b"md m q\r\n",
    b"mg m v\r\n",
    b"md m\r\n",
    b"ma c N0 J7 v t\r\n",
    b"ma c D3 MI v\r\n",
    b"ma c v MD D100\r\n",
    b"ma none\r\n",
    b"ms b64 3 b\r\nxyz\r\n",
    b"mg YWJj v b k\r\n",
    b"ms YWJj 3 b\r\nxyz\r\n",
    b"mg YWJj v b k\r\n",
    b"set large 0 0 100000\r\n" + b"L" * 100000 + b"\r\n",
    b"get large\r\n",
    b"touch large 0\r\n",
    b"append large 0 0 2\r\nzz\r\n",
    b"set huge 0 0 2000000\r\n" + b"H" * 2000000 + b"\r\n",
    b"get huge\r\n",
]


def timeless(reply):
    """Without the seconds that an item has left: the two pools are not asked in the same second."""
    return re.sub(rb" t[0-9]+", b" t#", reply)


def test_replies_are_those_of_a_plain_pool(hosts):
    host = hosts.host()
    other = hosts.host()
    plain = hosts.stack.enter_context(type(host)(sessions=PLAIN))
    for request, expected, got in zip(STORY, talk(plain, STORY), talk(host, STORY)):
        assert timeless(got) == timeless(expected), request[:60]
    for key in ("a", "n", "large", "c", "abc"):
        expected = talk(plain, [f"get {key}\r\n".encode()])[0]
        sees(other, key, expected)


def test_what_one_host_ends_is_ended_on_the_other(hosts):
    first, second = hosts.host(), hosts.host()
    assert talk(first, [b"set k 0 0 5\r\nhello\r\n"]) == [b"STORED\r\n"]
    sees(second, "k", value("k", "hello"))
    assert talk(second, [b"delete k\r\n", b"get k\r\n"]) == [b"DELETED\r\n", b"END\r\n"]
    sees(first, "k", b"END\r\n")


def test_a_delete_finds_what_another_host_has_just_stored(hosts):
    """A logout must not rest on a copy that has not heard of the login."""
    first, second = hosts.host(), hosts.host()
    with first.connect("sessions") as one, second.connect("sessions") as two:
        for i in range(200):
            one.send(f"set k{i} 0 0 1\r\nx\r\n".encode())
            one.expect(b"STORED\r\n")
            two.send(f"delete k{i}\r\n".encode())
            two.expect(b"DELETED\r\n")


def test_cas_is_the_logs_number_on_every_host(hosts):
    first, second = hosts.host(), hosts.host()
    talk(first, [b"set k 0 0 1\r\na\r\n"])
    sees(second, "k", value("k", "a"))
    cas = [
        re.search(rb"VALUE k 0 1 (\d+)", talk(host, [b"gets k\r\n"])[0])[1]
        for host in (first, second)
    ]
    assert cas[0] == cas[1]
    assert talk(second, [b"cas k 0 0 1 " + cas[0] + b"\r\nb\r\n"]) == [b"STORED\r\n"]
    sees(first, "k", value("k", "b"))
    assert talk(first, [b"cas k 0 0 1 " + cas[0] + b"\r\nc\r\n"]) == [b"EXISTS\r\n"]


def test_a_failing_condition_knows_what_other_hosts_have_done(hosts):
    """The reply to a condition that fails never rests on a copy that is behind; nor does a fresh read."""
    first, second = hosts.host(), hosts.host()
    with first.connect("sessions") as one, second.connect("sessions") as two:
        for i in range(60):
            key = f"k{i}".encode()
            assert one.ask(b"set " + key + b" 0 0 1\r\n5\r\n") == b"STORED"
            assert two.ask(b"add " + key + b" 0 0 1\r\nx\r\n") == b"NOT_STORED"
            assert one.ask(b"incr " + key + b" 1\r\n") == b"6"
            two.send(b"mg " + key + b" n v\r\n")
            two.expect(b"VA 1\r\n6\r\n")
            assert one.ask(b"delete " + key + b"\r\n") == b"DELETED"
            assert two.ask(
                [
                    b"touch " + key + b" 0\r\n",
                    b"incr " + key + b" 1\r\n",
                    b"mg " + key + b" n v\r\n",
                    b"replace " + key + b" 0 0 1\r\nx\r\n",
                ][i % 4]
            ) in (b"NOT_FOUND", b"NOT_STORED", b"EN")
            assert two.ask(b"add " + key + b" 0 0 1\r\n7\r\n") == b"STORED"
            assert one.ask(
                [
                    b"touch " + key + b" 0\r\n",
                    b"incr " + key + b" 1\r\n",
                    b"mg " + key + b" n\r\n",
                    b"replace " + key + b" 0 0 1\r\nx\r\n",
                ][i % 4]
            ) in (b"TOUCHED", b"8", b"HD", b"STORED")
    with second.connect("sessions") as raw:
        stats = raw.stats()
        assert int(stats["cluster_confirmed"]) >= 120
    with first.connect("cache") as raw:
        assert raw.ask(b"mg k n\r\n") == b"CLIENT_ERROR invalid flag"


def test_many_conditions_share_a_confirmation(hosts):
    host = hosts.host()
    connections = [host.connect("sessions") for _ in range(40)]
    assert connections[0].ask(b"set k 0 0 1\r\nx\r\n") == b"STORED"
    for _ in range(5):
        for raw in connections:
            raw.send(b"add k 0 0 1\r\ny\r\n")
        for raw in connections:
            raw.expect(b"NOT_STORED\r\n")
    stats = connections[0].stats()
    assert stats["cluster_confirmed"] == "200"
    assert int(stats["cluster_confirmations"]) < 100


def test_an_expiry_holds_on_every_host(hosts):
    first, second = hosts.host(), hosts.host()
    assert talk(first, [b"set k 0 2 1\r\na\r\n"]) == [b"STORED\r\n"]
    for host in (first, second):
        sees(host, "k", b"END\r\n")
    assert talk(second, [b"add k 0 0 1\r\nb\r\n"]) == [b"STORED\r\n"]
    sees(first, "k", value("k", "b"))


def test_what_a_clustered_pool_cannot_do_is_refused(hosts):
    host = hosts.host()
    refused = b"SERVER_ERROR not possible in a clustered pool\r\n"
    assert talk(host, [b"ms k 1 E77\r\nx\r\n", b"get k\r\n"]) == [refused, b"END\r\n"]
    assert talk(host, [b"flush_all 100\r\n"]) == [refused]


def test_a_flush_ends_everything_everywhere(hosts):
    first, second = hosts.host(), hosts.host()
    with first.connect("sessions") as raw:
        for i in range(200):
            assert raw.ask(f"set k{i} 0 0 1\r\na\r\n".encode()) == b"STORED"
    sees(second, "k199", value("k199", "a"))
    assert talk(second, [b"flush_all\r\n", b"get k0 k199\r\n"]) == [b"OK\r\n", b"END\r\n"]
    assert talk(second, [b"add k1 0 0 1\r\nb\r\n"]) == [b"STORED\r\n"]
    for i in (0, 50, 199):
        sees(first, f"k{i}", b"END\r\n")
    sees(first, "k1", value("k1", "b"))
    third = hosts.host()
    assert talk(third, [b"get k0 k1 k2\r\n"]) == [value("k1", "b")]
    for host in (first, second, third):
        host.restart()
        assert talk(host, [b"get k0 k1 k2\r\n"]) == [value("k1", "b")]


@pytest.mark.parametrize("fsync", ["always", "no"])
def test_pipelined_requests_are_answered_in_order(hosts, fsync):
    host = hosts.host(fsync=fsync)
    with host.connect("sessions") as raw:
        count = 300
        raw.send(
            b"".join(
                f"set k{i % 7} 0 0 3\r\n{i:03}\r\nget k{i % 7}\r\n".encode() for i in range(count)
            )
        )
        for i in range(count):
            raw.expect(f"STORED\r\nVALUE k{i % 7} 0 3\r\n{i:03}\r\nEND\r\n".encode(), timeout=60)


def test_stats_tell_about_the_cluster(hosts):
    host = hosts.host()
    talk(host, [b"set k 0 0 1\r\na\r\n"])
    with host.connect("sessions") as raw:
        stats = raw.stats()
    assert stats["cluster_connected"] == "1"
    assert stats["cluster_caught_up"] == stats["cluster_partitions"] == str(hosts.partitions)
    assert stats["cluster_acknowledged"] == "1"
    with host.connect("cache") as raw:
        assert not [name for name in raw.stats() if name.startswith("cluster_")]
