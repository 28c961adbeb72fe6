"""URLs of pools."""

import pathlib

import pytest
import stayd
from stayd.address import parse_location, parse_url, split_location
from stayd.errors import InvalidURL


@pytest.mark.parametrize(
    "text, server",
    [
        ("memcached://127.0.0.1:11200/", ("127.0.0.1", 11200)),
        ("memcached://127.0.0.1:11200", ("127.0.0.1", 11200)),
        ("memcached://[::1]:11200/", ("::1", 11200)),
        ("memcached://Sessions.Example/", ("sessions.example", 11211)),
        ("unix:///run/stayd/sessions.sock", "/run/stayd/sessions.sock"),
        ("unix:/run/stayd/sessions.sock", "/run/stayd/sessions.sock"),
    ],
)
def test_a_url_names_a_pools_listener(text, server):
    assert parse_url(text).server == server


@pytest.mark.parametrize(
    "text, server",
    [
        ("127.0.0.1:11211", ("127.0.0.1", 11211)),
        ("localhost", ("localhost", 11211)),
        ("[::1]:11211", ("::1", 11211)),
        (" 127.0.0.1:11211", ("127.0.0.1", 11211)),
        ("unix:/run/stayd/cache.sock", "/run/stayd/cache.sock"),
        ("/run/stayd/cache.sock", "/run/stayd/cache.sock"),
        ("unix:///run/stayd/cache.sock", "/run/stayd/cache.sock"),
        ("memcached://127.0.0.1:11211/", ("127.0.0.1", 11211)),
        (pathlib.Path("/run/stayd/cache.sock"), "/run/stayd/cache.sock"),
    ],
)
def test_a_location_may_have_djangos_own_forms_too(text, server):
    assert parse_location(text).server == server


@pytest.mark.parametrize(
    "text, reason",
    [
        (None, "no address"),
        ("", "no address"),
        (11200, "no address"),
        ("redis://127.0.0.1:6379/", "unknown scheme"),
        ("127.0.0.1:11200", "unknown scheme"),
        ("memcached:127.0.0.1:11200", "unknown scheme"),
        ("memcached:///", "no host"),
        ("memcached://127.0.0.1:0/", "port 0"),
        ("memcached://127.0.0.1:65536/", "cannot be read"),
        ("memcached://127.0.0.1:port/", "cannot be read"),
        ("memcached://::1:11200/", "cannot be read"),
        ("memcached://127.0.0.1:11200/sessions", "has a path"),
        ("memcached://127.0.0.1:11200/?retries=3", "unknown option 'retries'"),
        ("memcached://127.0.0.1:11200/?timeout=soon", "timeout as 'soon'"),
        ("memcached://127.0.0.1:11200/?timeout=0", "timeout as '0'"),
        ("memcached://127.0.0.1:11200/?timeout=nan", "timeout as 'nan'"),
        ("memcached://127.0.0.1:11200/?restart_wait=-1", "restart_wait as '-1'"),
        ("memcached://127.0.0.1:11200/?restart_wait=no", "restart_wait as 'no'"),
        ("memcached://127.0.0.1:11200/?idle_timeout=0", "idle_timeout as '0'"),
        ("memcached://127.0.0.1:11200/#sessions", "fragment"),
        ("memcached://127.0.0.1 :11200/", "spaces"),
        ("unix://sessions.sock", "absolute path"),
        ("unix:sessions.sock", "absolute path"),
        ("unix:///run/stayd/", "absolute path"),
    ],
)
def test_a_wrong_url_is_refused_with_the_reason(text, reason):
    with pytest.raises(InvalidURL, match=reason):
        parse_url(text)


@pytest.mark.parametrize(
    "text, server, username, password",
    [
        ("memcached://web:secret@h:1/", ("h", 1), b"web", b"secret"),
        ("memcached://w%40b:%3A%2F%20%C3%A4@[::1]:1/?timeout=1", ("::1", 1), b"w@b", b":/ \xc3\xa4"),
        ("unix://web:secret@/run/s.sock", "/run/s.sock", b"web", b"secret"),
    ],
)
def test_a_user_and_a_password_stand_before_the_host(text, server, username, password):
    address = parse_url(text)
    assert (address.server, address.username, address.password) == (server, username, password)
    for shown in (address.url, repr(address)):
        assert repr(password)[2:-1] not in shown


@pytest.mark.parametrize(
    "text",
    [
        "memcached://anna:gehei%00m@127.0.0.1:11200/",
        "memcached://an%20na:geheim@127.0.0.1:11200/",
        "memcached://an%3Ana:geheim@127.0.0.1:11200/",
        "memcached://:geheim@127.0.0.1:11200/",
        "memcached://anna:geheim%0d@127.0.0.1:11200/",
        "memcached://anna:" + "geheim" * 100 + "@127.0.0.1:11200/",
        "memcached://anna:ge/heim@127.0.0.1:11200/",
        "memcached://anna:ge#heim@127.0.0.1:11200/",
        "memcached://anna:geheim@127.0.0.1:11200/?timeout=x",
        "memcached://anna@127.0.0.1:11200/",
        "unix://anna:geheim@host/run/s.sock",
    ],
)
def test_a_login_that_no_pool_takes_is_refused_and_the_password_not_repeated(text):
    with pytest.raises(InvalidURL) as caught:
        parse_url(text)
    assert "heim" not in str(caught.value)


def test_a_url_without_a_port_is_refused_where_the_default_is_the_wrong_pool():
    with pytest.raises(InvalidURL, match="names no port.*11200"):
        parse_url("memcached://127.0.0.1/", default_port=None)


def test_times_are_given_in_the_query():
    address = parse_url(
        "unix:///run/s.sock?timeout=0.5&connect_timeout=2&restart_wait=0&idle_timeout=9"
    )
    assert (address.timeout_s, address.connect_timeout_s) == (0.5, 2.0)
    assert (address.restart_wait_s, address.idle_timeout_s) == (0.0, 9.0)


@pytest.mark.parametrize(
    "one, other",
    [
        ("memcached://localhost:11200/", "memcached://127.0.0.1:11200/"),
        ("memcached://[::1]:11200/", "memcached://127.0.0.1:11200"),
        ("memcached://127.0.0.1:11200/?timeout=1", "memcached://127.0.0.1:11200/"),
        ("unix:///run/../run/s.sock", "unix:/run/s.sock"),
    ],
)
def test_two_spellings_of_one_listener_are_one_place(one, other):
    assert parse_url(one).place == parse_url(other).place


def test_memcacheds_is_tls_and_takes_the_paths_of_its_files():
    address = parse_url("memcacheds://h:1/?ca=/a/ca.pem&cert=/a/c.pem&key=/a/c.key&timeout=2")
    assert address.server == ("h", 1) and address.timeout_s == 2.0
    assert (address.tls.ca, address.tls.cert, address.tls.key) == ("/a/ca.pem", "/a/c.pem",
                                                                   "/a/c.key")
    assert address.url == "memcacheds://h:1/"
    assert parse_url("memcached://h:1/").tls is None
    assert parse_location("memcacheds://h:1/").tls is not None


@pytest.mark.parametrize(
    "text, reason",
    [
        ("memcached://h:1/?ca=/a", "unknown option 'ca'"),
        ("unix:///a.sock?ca=/a", "unknown option 'ca'"),
        ("memcacheds://h:1/?ca=a.pem", "absolute path"),
        ("memcacheds://h:1/?key=/a", "a key without its certificate"),
    ],
)
def test_what_tls_takes_is_checked(text, reason):
    with pytest.raises(InvalidURL, match=reason):
        parse_url(text)


def test_two_ports_are_two_places():
    assert parse_url("memcached://h:1/").place != parse_url("memcached://h:2/").place


def test_several_hosts_are_one_clustered_pool():
    address = parse_url("memcached://web:secret@127.0.0.1:1,[::1]:2,h/?cluster=yes&timeout=3")
    assert [member.server for member in address.members] == [("127.0.0.1", 1), ("::1", 2), ("h", 11211)]
    for member in address.members:
        assert (member.username, member.timeout_s, member.cluster) == (b"web", 3.0, True)
    assert address.url == "memcached://127.0.0.1:1,[::1]:2,h:11211/"
    assert address.members[0].url == "memcached://127.0.0.1:1/"
    one = parse_url("memcached://h:1/?cluster=yes")
    assert one.members == (one,)


def test_the_first_host_may_be_a_socket_and_the_others_need_tls():
    address = parse_url("memcacheds://%2Frun%2Fs.sock,h:2/?cluster=yes&ca=/a", default_port=None)
    assert [member.server for member in address.members] == ["/run/s.sock", ("h", 2)]
    assert [member.tls is None for member in address.members] == [True, False]
    assert address.url == "memcacheds://%2Frun%2Fs.sock,h:2/"
    assert parse_url("memcached://%2Frun%2Fs.sock/").url == "unix:///run/s.sock"


@pytest.mark.parametrize(
    "text, reason",
    [
        ("memcached://a:1,b:2/", "2 hosts.*cluster=yes"),
        ("memcached://a:1,b:2/?cluster=no", "2 hosts.*cluster=yes"),
        ("memcached://a:1,b:2/?cluster=1", "cluster as '1'"),
        ("memcached://a:1,,b:2/?cluster=yes", "empty name"),
        ("memcached://a:1,a:1/?cluster=yes", "a host twice"),
        ("memcached://localhost:1,127.0.0.1:1/?cluster=yes", "a host twice"),
        ("memcached://a:1,b:x/?cluster=yes", "cannot be read"),
        ("memcached://a:1,b/?cluster=yes", "names no port"),
        ("memcached://a:1,b:2/s?cluster=yes", "has a path"),
        ("memcached://u:geheim@a:1,b:0/?cluster=yes", "port 0"),
    ],
)
def test_a_wrong_list_of_hosts_is_refused_with_the_reason(text, reason):
    with pytest.raises(InvalidURL, match=reason) as caught:
        parse_url(text, default_port=None)
    assert "heim" not in str(caught.value)


def test_a_location_with_commas_is_several_servers_unless_it_says_that_it_is_a_cluster():
    cluster = "memcached://a:1,b:2/?timeout=3&cluster=yes"
    assert split_location(cluster) == [cluster]
    assert len(parse_location(cluster).members) == 2
    assert split_location("a:1,b:2") == ["a:1", "b:2"]
    assert split_location("memcached://a:1,memcached://b:2/?cluster=yes") == [
        "memcached://a:1", "memcached://b:2/?cluster=yes",
    ]


def test_a_clustered_pool_has_time_limits_of_its_own():
    plain, clustered = stayd.Client("memcached://h:1/"), stayd.Client("memcached://h:1/?cluster=yes")
    assert (plain._connect_timeout_s, plain._timeout_s) == (2.0, 5.0)
    assert (clustered._connect_timeout_s, clustered._timeout_s) == (1.0, 12.0)
    assert stayd.Client("memcached://h:1/?cluster=yes&timeout=3")._timeout_s == 3.0
